# 053_lost_tail.pl: a server that begins without the last transactions of the one before it, at a bank that forgets references
# and so would pay twice whatever is sent twice. What may have been sent without a record is asked for first, by its TXID, whatever
# standby it was.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use PostgreSQL::Test::Utils;
use Test::More;

my %common = (sandbox => { forget_references => JSON::PP::true },
	channel => { mode => 'single', not_found_grace_s => 0, not_found_count => 1, request_timeout_ms => 20000 });

sub quick { my $t = shift; $t->sql("insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values ('check', 20, 100, 100000), ('dispatch', 20, 100, 1000)") }
sub standby_of
{
	my ($t, $name, $conf) = @_;
	$t->{node}->backup($name);
	my $standby = PostgreSQL::Test::Cluster->new($name);
	$standby->init_from_backup($t->{node}, $name, has_streaming => 1);
	$standby->append_conf('postgresql.conf', $conf) if $conf;
	$standby->start;
	return $standby;
}

# From here on the standby receives nothing: what follows is lost with the primary.
sub cut_off
{
	my ($t, $standby) = @_;
	$t->{node}->wait_for_catchup($standby);
	$standby->safe_psql('postgres', q(alter system set primary_conninfo = 'host=/nowhere port=1'; select pg_reload_conf()));
	$t->wait_for('it is cut off', sub { $t->{node}->safe_psql('postgres', 'select count(*) from pg_stat_replication') == 0 });
}

# The primary is gone for good, the standby is the test's server.
sub take_over
{
	my ($t, $standby) = @_;
	$t->{node}->stop('immediate');
	$standby->promote;
	$t->{node} = $standby;
	$t->restart_relay;
}

# What each kind of payout became: paid once, and unasked or not.
sub expect
{
	my ($t, $name, $asked, @txids) = @_;
	$t->wait_state($_, 'paid') for @txids;
	is(join(' ', map { $t->times_paid($_) } @txids), join(' ', map { 1 } @txids), "$name: paid once");
	my $list = join "','", @txids;
	is($t->sql("select count(distinct txid) from payout.attempt where lane = 'check' and asked_attempt_id is null and txid in ('$list')"), $asked, "$name: $asked asked for by their TXIDs");
}

# Payouts as they stand at the end of the log that the standby has: one that will be sent, one that the bank refuses for now
# and that is sent again, one scheduled, one that is registered only. All of them are sent, the first three are paid, unknown to the standby.
sub before_tail
{
	my $t = shift;
	$t->sql("select payout.pause_channel('BANK1', 'a while')");
	my %txid = map { $_ => $t->pay } qw(due bulk left);
	$txid{overbooking} = $t->pay(bank => 'OWNB', method => 'overbooking');
	$txid{registered} = $t->register;
	$txid{scheduled} = $t->register(schedule => $t->sql("select date_trunc('second', clock_timestamp()) + interval '90 min'"));
	$t->approve($txid{scheduled});
	return %txid;
}

sub in_tail
{
	my ($t, %txid) = @_;
	$t->approve($txid{registered});
	$t->fault(service => 'any', kind => 'hang', reference_no => $txid{left});
	$t->sql("select payout.resume_channel('BANK1')");
	$t->wait_state($txid{$_}, 'paid') for qw(due bulk overbooking registered);
}

sub asynchronous_promotion
{
	my $t = PayoutTest->new(name => 'asynchronous', %common);
	quick($t);
	my $standby = standby_of($t, 'late');
	my $known = $t->pay;
	$t->wait_state($known, 'paid');
	my %txid = before_tail($t);
	cut_off($t, $standby);
	is($standby->safe_psql('app', 'select timeline_id from payout.incarnation'), '1', 'the life says on which timeline it began');
	in_tail($t, %txid);
	$t->clear_faults;
	take_over($t, $standby);
	$t->wait_sql('select count(*) = 1 from payout.lost_tail');
	is($t->sql('select from_timeline_id, to_timeline_id, incarnation_id = (select incarnation_id from payout.incarnation where ended_at is null) from payout.lost_tail'), '1|2|t', 'a lost tail begins');
	$t->wait_for('the log says so', sub { slurp_file($standby->logfile) =~ /payout begins on timeline 2/ });
	is($t->sql("select payout.asks_first(registered_at) from payout.payout where txid = '$txid{due}'"), 't', 'what was registered before is asked for');
	is($t->sql("select status from payout.health() where check_name = 'lost_tail'"), 'warning', 'health() counts them');
	my $next = $t->pay;
	$t->sql("select payout.resume_channel('BANK1')");
	expect($t, 'after an asynchronous promotion', 4, @txid{qw(due bulk left overbooking)});
	expect($t, 'registered after it', 0, $next);
	is($t->times_paid($known), 1, 'what is known to be paid is not sent');
	$t->approve($txid{registered});
	expect($t, 'approved again', 1, $txid{registered});
	$t->set_clock(6000);
	expect($t, 'scheduled', 1, $txid{scheduled});
	is($t->sql("select status from payout.health() where check_name = 'lost_tail'"), 'ok', 'nothing is left of it');
	$t->sound('after an asynchronous promotion');

	# A restart, or another promotion of a standby that follows, begins no other one by itself.
	$standby->restart;
	$t->wait_sql('select count(*) = 3 from payout.incarnation');
	is($t->sql('select count(*) from payout.lost_tail'), '1', 'a restart loses nothing');
	$standby->stop;
	$t->end_children;
}

# Retries that were due again before the tail, in bulk, and a channel whose bank has given no word: held for a person.
sub retries_and_holds
{
	my $t = PayoutTest->new(name => 'retrying', %common, channel => { %{ $common{channel} }, mode => 'bulk', batch_size_max => 2, linger_ms => 0 });
	quick($t);
	my $standby = standby_of($t, 'retry');
	$t->sql("delete from payout.retry_policy where lane = 'dispatch'; insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values ('dispatch', 3600000, 3600000, 1000)");
	$t->fault(service => '20', kind => 'answer', http => 404, code => '02', count => 1);
	my $again = $t->pay;
	$t->wait_sql("select state = 'open' and tries = 1 from payout.batch");
	my @held = map { my $txid = $t->register(schedule => $t->sql("select date_trunc('second', clock_timestamp()) + interval '90 min'")); $t->approve($txid); $txid } 1 .. 2;
	$t->sql(q(select payout.alter_channel('BANK1', '{"reference_memory_s": null}')));
	cut_off($t, $standby);
	$t->sql("select payout.resume_channel('BANK1')");
	$t->wait_state($again, 'paid');
	take_over($t, $standby);
	$t->wait_sql('select count(*) = 1 from payout.lost_tail');
	$t->sql("select payout.resume_channel('BANK1')");
	expect($t, 'a retry', 1, $again);
	# Without the bank's word what it does not find is held for a person, each by itself.
	$t->set_clock(7200);
	$t->wait_sql("select count(*) = 2 from payout.hold where lane = 'dispatch'");
	is($t->sql("select string_agg(state, ' ') from payout.payout where txid in ('$held[0]', '$held[1]')"), 'suspect suspect', 'what the bank does not find is held');
	is($t->sql("select (payout.resolve('MERCHANT01', '$held[0]', 'dispatch', 'not there')).state"), 'dispatching', 'until a person sends it');
	$t->wait_state($held[0], 'paid');
	is($t->state($held[1]), 'suspect', 'and it alone');
	is(join(' ', map { $t->times_paid($_) } @held), '1 0', 'once');
	$t->sound('after the promotion with a retry');
	$standby->stop;
	$t->end_children;
}

# No server can prove that it was the standby which each commit waited for: one that was is asked for as well.
sub synchronous_promotion
{
	my $t = PayoutTest->new(name => 'synchronous', %common);
	quick($t);
	my $standby = standby_of($t, 'synch');
	$t->{node}->safe_psql('postgres', q(alter system set synchronous_standby_names = 'synch'; select pg_reload_conf()));
	$t->wait_for('it is synchronous', sub { $t->{node}->safe_psql('postgres', "select sync_state from pg_stat_replication") eq 'sync' });
	$t->sql("select payout.pause_channel('BANK1', 'take-over')");
	my @txids = map { $t->pay } 1 .. 2;
	take_over($t, $standby);
	$t->wait_sql('select count(*) = 1 from payout.lost_tail');
	$t->sql("select payout.resume_channel('BANK1')");
	expect($t, 'after a synchronous promotion', 2, @txids);
	$t->sound('after a synchronous promotion');
	$standby->stop;
	$t->end_children;
}

# The primary waits for a standby of this name, and another one takes over; then one that never followed that.
sub named_alike
{
	my $t = PayoutTest->new(name => 'alike', %common);
	quick($t);
	my $standby = standby_of($t, 'twin');
	my $second = standby_of($t, 'twin2', "cluster_name = 'twin'");
	$second->append_conf('postgresql.conf', "primary_conninfo = '" . $t->{node}->connstr . " application_name=twin'");
	$second->restart;
	$t->wait_for('both follow', sub { $t->{node}->safe_psql('postgres', "select count(*) from pg_stat_replication where application_name = 'twin'") == 2 });
	$t->{node}->safe_psql('postgres', q(alter system set synchronous_standby_names = 'twin'; select pg_reload_conf()));
	$t->sql("select payout.pause_channel('BANK1', 'take-over')");
	my $txid = $t->pay;
	$t->wait_for('both have it', sub { $t->{node}->safe_psql('postgres', 'select bool_and(replay_lsn = pg_current_wal_lsn()) from pg_stat_replication') eq 't' });
	$second->safe_psql('postgres', q(alter system set primary_conninfo = 'host=/nowhere port=1'; select pg_reload_conf()));
	$t->wait_for('one is cut off', sub { $t->{node}->safe_psql('postgres', 'select count(*) from pg_stat_replication') == 1 });
	$t->sql("select payout.resume_channel('BANK1')");
	$t->wait_state($txid, 'paid');
	take_over($t, $second);
	$t->wait_sql('select count(*) = 1 from payout.lost_tail');
	$t->sql("select payout.resume_channel('BANK1')");
	expect($t, 'of two standbys of one name the wrong one', 1, $txid);
	$standby->stop('immediate');
	$second->stop;
	$t->end_children;
}

# The tail holds the first life of all: the standby knows of none.
sub first_life
{
	my $t = PayoutTest->new(name => 'first', %common, armed => 0, conf => [ "payout.databases = ''" ]);
	quick($t);
	$t->sql('select payout.arm()');
	my %txid = before_tail($t);
	my $standby = standby_of($t, 'follows', "payout.databases = 'app'");
	cut_off($t, $standby);
	$t->{node}->safe_psql('postgres', q(alter system set payout.databases = 'app'; select pg_reload_conf()));
	in_tail($t, %txid);
	$t->clear_faults;
	take_over($t, $standby);
	$t->wait_sql('select count(*) = 1 from payout.lost_tail');
	$t->sql("select payout.resume_channel('BANK1')");
	expect($t, 'the first life in the tail', 4, @txid{qw(due bulk left overbooking)});
	$t->approve($txid{registered});
	expect($t, 'approved again', 1, $txid{registered});
	$t->sound('the first life in the tail');
	$standby->stop;
	$t->end_children;
}

# The extension is created anew under a worker, which has no row there: another begins.
sub created_anew
{
	my $t = PayoutTest->new(name => 'anew', %common);
	$t->wait_state($t->pay, 'paid');
	my $worker = $t->sql("select pid from pg_stat_activity where backend_type = 'payout worker'");
	$t->sql('begin; drop extension payout cascade; create extension payout; commit');
	$t->set_up;
	quick($t);
	my %txid = before_tail($t);
	$t->wait_sql('select count(*) = 1 from payout.incarnation');
	isnt($t->sql("select pid from payout.incarnation"), $worker, 'another worker has begun');
	my $standby = standby_of($t, 'after');
	cut_off($t, $standby);
	in_tail($t, %txid);
	$t->clear_faults;
	take_over($t, $standby);
	$t->wait_sql('select count(*) = 1 from payout.lost_tail');
	$t->sql("select payout.resume_channel('BANK1')");
	expect($t, 'created anew', 4, @txid{qw(due bulk left overbooking)});
	is($t->sql('select * from payout.verify()'), '', 'created anew: verify() is empty');
	$standby->stop;
	$t->end_children;
}

# Cash that stores have handed over in the tail: no bank can be asked, so nothing of it ends unasked, and each store's word is taken.
sub cash
{
	my $t = PayoutTest->new(name => 'cash', %common);
	quick($t);
	my $standby = standby_of($t, 'tills');
	my (%txid, %token);
	for my $name (qw(confirmed listed late unpaid anew))
	{
		$txid{$name} = $t->sql("select txid from payout.register_cashout('MERCHANT01', 'CASH-$name', 50000, 'Budi Santoso', '0812')");
		$token{$name} = $t->sql("select cashout_token from payout.approve('MERCHANT01', '$txid{$name}')");
	}
	cut_off($t, $standby);
	for my $name (qw(confirmed listed late))
	{
		$t->sql("select payout.cashout_validate('STORE1', '$token{$name}', 'T1', 'REF-$name')");
		$t->sql("select payout.cashout_confirm('STORE1', '$token{$name}', 'REF-$name')");
	}
	take_over($t, $standby);
	$t->wait_sql('select count(*) = 1 from payout.lost_tail');
	is($t->sql("select status from payout.health() where check_name = 'lost_tail_cash'"), 'warning', 'cash: health() counts the tokens');
	is($t->sql("select (payout.cashout_confirm('STORE1', '$token{confirmed}', 'REF-confirmed')).state"), 'paid', 'cash: a confirmation is taken without its reservation');
	is($t->sql("select (payout.cashout_confirm('STORE1', '$token{confirmed}', 'REF-confirmed')).state"), 'paid', 'cash: and again');
	my $list = sub { my ($name, $more) = @_; return $t->sql("select finding, our_state from payout.import_cvs_settlement('STORE1', current_date, '[{\"cvs_reference\": \"REF-$name\", \"amount\": 50000, \"status\": \"SUCCESS\"$more}]') where cvs_reference = 'REF-$name'") };
	is($list->('listed', ''), 'extra|', 'cash: a line of a list without a reservation is reported');
	is($list->('listed', ', "txid": "NONE"'), 'extra|', 'cash: of a payout that is not there');
	is($list->('listed', ", \"txid\": \"$txid{listed}\""), 'settled|paid', 'cash: with its TXID it is settled');
	is($t->sqlstate("select payout.import_cvs_settlement('STORE1', current_date, '[{\"cvs_reference\": \"R\", \"amount\": 1, \"status\": \"SUCCESS\", \"txid\": 1}]')"), 'PY016', 'cash: a TXID is a text');
	is($t->sqlstate("select payout.reissue_token('MERCHANT01', '$txid{anew}')"), 'PY004', 'cash: no token takes the place of one that may be paid');
	is($t->sql("select (payout.resolve('MERCHANT01', '$txid{anew}', 'dispatch', 'no store lists it')).state"), 'token_issued', 'cash: until a person has asked the stores');
	my $new = $t->sql("select payout.reissue_token('MERCHANT01', '$txid{anew}')");
	my $after = $t->sql("select txid from payout.register_cashout('MERCHANT01', 'CASH-after', 50000, 'Budi Santoso', '0812')");
	my $fresh = $t->sql("select cashout_token from payout.approve('MERCHANT01', '$after')");
	is($t->sqlstate("select payout.cashout_confirm('STORE1', '$fresh', 'REF-fresh')"), 'PY010', 'cash: a token of after it needs its reservation');
	$t->set_clock(86400 * 3);
	$t->wait_state($_, 'expired') for $after, $txid{anew};
	$t->wait_sql("select count(*) = 2 from payout.hold where lane = 'expire'");
	is(join(' ', map { $t->state($_) } @txid{qw(late unpaid)}), 'token_issued token_issued', 'cash: what may have been paid is not refunded');
	is($t->sql("select (payout.resolve('MERCHANT01', '$txid{unpaid}', 'dispatch', 'no store lists it')).state"), 'expired', 'cash: until a person has asked the stores');
	is($list->('late', ", \"txid\": \"$txid{late}\""), 'settled|paid', 'cash: a late list settles what was set aside');
	is($list->('unpaid', ", \"txid\": \"$txid{unpaid}\""), 'disputed|disputed', 'cash: and disputes what was given back');
	is($t->sql('select count(*) from payout.hold'), '0', 'cash: nobody is asked any more');
	is($t->sql("select status from payout.health() where check_name = 'lost_tail_cash'"), 'ok', 'cash: no token is left of it');
	is($t->sql('select * from payout.verify()'), '', 'cash: verify() is empty');
	$standby->stop;
	$t->end_children;
}

# A restore to a point in time, from a base backup and the archive.
sub point_in_time
{
	my $t = PayoutTest->new(name => 'archived', %common);
	quick($t);
	my $node = $t->{node};
	$node->enable_archiving;
	$node->restart;
	$t->wait_sql('select count(*) = 2 from payout.incarnation');
	$node->backup('base');
	my %txid = before_tail($t);
	my $target = $node->safe_psql('postgres', 'select pg_current_wal_lsn()');
	# The record after which the restore ends.
	$t->sql("select payout.top_up('MERCHANT02', 1, 'second')");
	in_tail($t, %txid);
	$node->safe_psql('postgres', 'select pg_switch_wal()');
	$t->wait_for('the archive has it', sub { $node->safe_psql('postgres', "select coalesce(last_archived_wal >= pg_walfile_name('$target'), false) from pg_stat_archiver") eq 't' });
	$t->clear_faults;
	$node->stop;
	my $restored = PostgreSQL::Test::Cluster->new('restored');
	$restored->init_from_backup($node, 'base', has_restoring => 1, standby => 0);
	$restored->append_conf('postgresql.conf', "recovery_target_lsn = '$target'\nrecovery_target_action = 'promote'\narchive_mode = off");
	$restored->start;
	$t->{node} = $restored;
	$t->restart_relay;
	$t->wait_sql('select not pg_is_in_recovery()');
	$t->wait_sql('select count(*) = 1 from payout.lost_tail');
	$t->sql("select payout.resume_channel('BANK1')");
	expect($t, 'after a restore to a point in time', 4, @txid{qw(due bulk left overbooking)});
	$t->approve($txid{registered});
	expect($t, 'approved again', 1, $txid{registered});
	$t->sound('after a restore');
	$restored->stop;
	$t->end_children;
}

# A restore from the archive to its end, of a server that waited for a standby: whatever its settings say of a primary, it has not
# streamed, and lacks what was not archived. In recovery alone, and as a standby that finds no primary.
sub restored_to_the_end
{
	my ($name, %kind) = @_;
	my $t = PayoutTest->new(name => $name, %common);
	quick($t);
	my $node = $t->{node};
	my $standby = standby_of($t, "${name}_standby");
	$node->enable_archiving;
	$node->append_conf('postgresql.conf', "synchronous_standby_names = '${name}_standby'");
	$node->restart;
	$t->wait_sql('select count(*) = 2 from payout.incarnation');
	$node->backup("${name}_base");
	my %txid = before_tail($t);
	# The archive ends with a whole segment: that is where a standby would ask its primary to go on.
	my $segment = $node->safe_psql('postgres', 'select pg_walfile_name(pg_current_wal_lsn())');
	$node->safe_psql('postgres', 'select pg_switch_wal()');
	$t->wait_for('the archive has it', sub { $node->safe_psql('postgres', "select coalesce(last_archived_wal >= '$segment', false) from pg_stat_archiver") eq 't' });
	$node->safe_psql('postgres', q(alter system set archive_command = 'false'; select pg_reload_conf()));
	in_tail($t, %txid);
	$t->clear_faults;
	$node->stop('immediate');
	$standby->stop('immediate');
	my $restored = PostgreSQL::Test::Cluster->new("${name}_restored");
	$restored->init_from_backup($node, "${name}_base", has_restoring => 1, standby => $kind{standby});
	$restored->append_conf('postgresql.conf', "primary_conninfo = 'host=/nowhere port=1'\nsynchronous_standby_names = ''\narchive_mode = off");
	$restored->start;
	if ($kind{standby})
	{
		$t->wait_for('it looks for its primary', sub { slurp_file($restored->logfile) =~ /could not connect to the primary server/ });
		$restored->promote;
	}
	$t->{node} = $restored;
	$t->restart_relay;
	$t->wait_sql('select not pg_is_in_recovery()');
	$t->wait_sql('select count(*) = 1 from payout.lost_tail');
	$t->sql("select payout.resume_channel('BANK1')");
	expect($t, "$name: restored to the end of the archive", 4, @txid{qw(due bulk left overbooking)});
	$t->approve($txid{registered});
	expect($t, "$name: approved again", 1, $txid{registered});
	$t->sound($name);
	$restored->stop;
	$t->end_children;
}

# A copy of the data directory that is started as it is stays on its timeline, like a server after a crash. Started with
# recovery.signal and nothing to restore it ends on a new one, and asks; README, Copies.
sub copy_of_the_directory
{
	my $t = PayoutTest->new(name => 'copied', %common);
	quick($t);
	my $node = $t->{node};
	my %txid = before_tail($t);
	$node->stop;
	$node->backup_fs_cold('copy');
	$node->start;
	in_tail($t, %txid);
	$t->clear_faults;
	$node->stop('immediate');
	my $copy = PostgreSQL::Test::Cluster->new('copy');
	$copy->init_from_backup($node, 'copy');
	$copy->append_conf('postgresql.conf', "restore_command = 'false'");
	$copy->set_recovery_mode;
	$copy->start;
	$t->{node} = $copy;
	$t->restart_relay;
	$t->wait_sql('select not pg_is_in_recovery()');
	$t->wait_sql('select count(*) = 1 from payout.lost_tail');
	$t->sql("select payout.resume_channel('BANK1')");
	expect($t, 'in a copy that was started by the recipe', 4, @txid{qw(due bulk left overbooking)});
	$t->approve($txid{registered});
	expect($t, 'approved again', 1, $txid{registered});
	$t->sound('in a copy');
	$copy->stop;
	$t->end_children;
}

asynchronous_promotion();
retries_and_holds();
synchronous_promotion();
named_alike();
first_life();
created_anew();
cash();
point_in_time();
restored_to_the_end('archived_alone', standby => 0);
restored_to_the_end('archived_standby', standby => 1);
copy_of_the_directory();
done_testing();
