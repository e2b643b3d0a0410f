# 063_operator_trail.pl: an operator who sends payouts to a server of its own, under another code, and puts all back leaves a trail:
# in what was changed, by whom, and in the attempts; a dump shows it, and keeps it.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(channel => { mode => 'single' });
my $node = $t->{node};
my (undef, $own) = $t->start_program('sandbox', '--config', "$t->{dir}/sandbox.json", '--journal', "$t->{dir}/own_journal", '--port', 0, '--control-port', 0);
my $real = "127.0.0.1:$t->{bank_port}";
my $theirs = "127.0.0.1:$own->{listening}";
$t->sql("create role op login; create role ma login; create role pooler login; grant op to pooler;
	select payout.grant_access('op', 'operator'), payout.grant_access('ma', 'merchant', 'MERCHANT01'), payout.alter_merchant('MERCHANT01', '{\"approver_differs\": true}')");
sub as
{
	my ($role, $sql) = @_;
	my ($status, $out, $err) = $node->psql('app', $sql, connstr => $node->connstr('app') . " user=$role", on_error_stop => 1);
	is($status, 0, "$role: $sql") or diag($err);
	return $out;
}
sub changed { my ($name) = @_; return $t->sql("select string_agg(concat_ws(' ', e.role_name, e.session_role), ', ' order by e.at) from payout.admin_event e where e.new_values || e.old_values ? '$name' and e.role_name <> 'postgres'"); }

my $before = as('ma', "select txid from payout.register('MERCHANT01', 'BEFORE', 250000, 'CENA', '8812345678', 'Budi Santoso')");
$t->wait_sql("select account_check = 'matched' from payout.payout where txid = '$before'");

# What the operator does, and undoes; once behind a pooler
as('op', q(select payout.alter_merchant('MERCHANT01', '{"approver_differs": null}')));
as('op', q(select payout.pause_channel('BANK1', 'maintenance')));
as('pooler', qq(set role op; select payout.alter_channel('BANK1', '{"base_url": "http://$theirs/bank", "same_books": true}')));
as('op', q(select payout.alter_bank('CENA', '{"wire_code": "666"}'), payout.resume_channel('BANK1')));
as('ma', "select payout.approve('MERCHANT01', '$before')");
$t->wait_state($before, 'paid');
my $during = as('ma', "select (payout.approve('MERCHANT01', (payout.register('MERCHANT01', 'DURING', 250000, 'CENA', '8812345678', 'Budi Santoso')).txid)).txid");
$t->wait_state($during, 'paid');
as('op', q(select payout.alter_channel('BANK1', '{"mode": "bulk"}')));
my @bulk = map { as('ma', "select txid from payout.register('MERCHANT01', 'BULK$_', 1000, '" . ($_ == 1 ? 'CENA' : 'OWNB') . "', '8812345678', 'Budi Santoso')") } 1, 2;
$t->wait_sql("select count(*) = 2 from payout.payout where reference_no like 'BULK%' and account_check = 'matched'");
as('ma', "begin; select payout.approve('MERCHANT01', '$bulk[0]'); select payout.approve('MERCHANT01', '$bulk[1]'); commit");
$t->wait_state($_, 'paid') for @bulk;
as('op', q(select payout.pause_channel('BANK1', 'maintenance')));
as('op', qq(select payout.alter_channel('BANK1', '{"base_url": "http://$real/bank", "mode": "single", "same_books": true}')));
as('op', q(select payout.alter_bank('CENA', '{"wire_code": "014"}'), payout.resume_channel('BANK1'), payout.alter_merchant('MERCHANT01', '{"approver_differs": true}')));
as('op', q(select payout.grant_access('op', 'merchant', 'MERCHANT02'), payout.revoke_access('op', 'merchant', 'MERCHANT02')));
my $after = $t->register;
$t->wait_sql("select account_check = 'matched' from payout.payout where txid = '$after'");

is($t->times_paid($_), 0, "$_: the bank has nothing") for $before, $during, @bulk;
is($t->sql('select check_name, detail from payout.verify()'), '', 'and all is put back');

# The trail
sub attempts { my ($txid) = @_; return $t->sql("select string_agg(concat_ws(' ', a.lane, a.host, a.wire_codes), ', ' order by a.started_at) from payout.attempt a left join payout.payout p on p.channel_id = a.channel_id and p.batch_id = a.batch_id where '$txid' in (a.txid, p.txid) and a.lane <> 'check'"); }
is(attempts($before), "validate $real 014, dispatch $theirs 014", 'checked by the bank, sent elsewhere');
is(attempts($during), "validate $theirs 666, dispatch $theirs 666", 'checked and sent elsewhere under another code');
like(attempts($bulk[0]), qr/^validate $theirs 666, dispatch $theirs 666(,OWNB)?$/, 'of a bulk each code');
is(attempts($after), "validate $real 014", 'put back');
is($t->sql("select count(*) from payout.attempt where host is null or (wire_codes is null) <> (lane = 'check')"), '0', 'each attempt names its host, and its codes but for inquiries');
is(changed('base_url'), 'op pooler, op op', 'who changed the address, and who was logged in');
is(changed('options.wire_code'), 'op op, op op', 'who changed the code');
is(changed('options.approver_differs'), 'op op, op op', 'who lifted four eyes');
is(changed('paused_reason'), 'op op, op op, op op, op op', 'who paused and resumed');
is($t->sql("select string_agg(action || ' ' || role_name, ', ' order by at) from payout.admin_event where relation = 'access_grant' and 'op' in (new_values ->> 'role_name', old_values ->> 'role_name') and 'MERCHANT02' in (new_values ->> 'scope', old_values ->> 'scope')"),
	'insert op, delete op', 'who acted for another merchant, and no more');
is($t->sql("select count(*) from payout.admin_event where session_role is null"), '0', 'the worker has changed nothing');

# A dump shows it, and a restore keeps it and adds nothing to it, renamed roles or not
my $dump = '';
IPC::Run::run([ 'pg_dump', '--inserts', $node->connstr('app') ], '>', \$dump) or die 'pg_dump';
my @named = grep { /INSERT INTO payout\.admin_event/ && /'op'/ } split /\n/, $dump;
cmp_ok(scalar(@named), '>=', 12, 'a dump names the operator with each change');
ok((grep { /\Q$theirs\E/ } @named), 'and the address');
ok((grep { /INSERT INTO payout\.attempt/ && /\Q$theirs\E/ && /666/ } split /\n/, $dump), 'and that it was used, with the code');
unlike($dump, qr/a-shared-client-secret|BEGIN (RSA )?PRIVATE/, 'no secret');
$t->sql("alter role ma rename to ma_renamed; select payout.grant_access('ma_renamed', 'merchant', 'MERCHANT01')");
my $events = $t->sql('select md5(string_agg(e::text, $$ $$ order by relation, object, event_no)) from payout.admin_event e');
$node->safe_psql('postgres', 'create database copy');
ok(IPC::Run::run([ 'pg_dump', '-Fc', $node->connstr('app') ], '|', [ 'pg_restore', '--exit-on-error', '-d', $node->connstr('copy') ]), 'it is restored');
is($node->safe_psql('copy', 'select md5(string_agg(e::text, $$ $$ order by relation, object, event_no)) from payout.admin_event e'), $events, 'the copy has the same events');
is($node->safe_psql('copy', 'select check_name, detail from payout.verify()'), '', 'and they explain what is there');
$node->safe_psql('copy', q(select payout.arm(); select payout.set_secret('channel:BANK1', 'client_secret', 'another'); select payout.alter_merchant('MERCHANT02', '{"active": false}')));
is($node->safe_psql('copy', 'select check_name, detail from payout.verify()'), '', 'as they do when the copy goes on');
$node->safe_psql('copy', q(set session_replication_role = replica; update payout.bank set options = '{"wire_code": "666"}' where bank_code = 'CENA'));
is($node->safe_psql('copy', 'select check_name, detail from payout.verify()'), 'admin_present|bank CENA is not what the events say: options.wire_code', 'and what no event made shows there');

done_testing();
