# 041_secrets.pl: stored secrets in use: two values are good while one replaces the other; the secret file is rotated, by
# its setting and under its name, while tokens issued before stay good; dumps leave secrets out unless they are asked for.
use strict;
use warnings;
use lib 'test/t/lib';
use Digest::SHA qw(hmac_sha512_base64 sha256_hex);
use IPC::Run ();
use JSON::PP ();
use MIME::Base64 qw(encode_base64);
use PayoutTest;
use POSIX qw(strftime);
use PostgreSQL::Test::Utils;
use Test::More;

my $t = PayoutTest->new(channel => { mode => 'single' });
my $node = $t->{node};
$t->sql("insert into payout.retry_policy (lane, base_ms, max_ms, jitter, tries_max) values ('notify', 100, 100, 0, 100000)");

sub health { my ($check, $column) = @_; return $t->sql('select ' . ($column || 'status') . " from payout.health() where check_name = '$check'"); }

sub configure
{
	my %setting = @_;
	$node->safe_psql('postgres', join '; ', (map { "alter system set $_ = '$setting{$_}'" } sort keys %setting), 'select pg_reload_conf()');
	$t->wait_for("$_ is set", sub { $node->safe_psql('postgres', "show $_") eq $setting{$_} }) for sort keys %setting;
}

# The merchant's end checks with this secret from now on.
sub receive_with
{
	my ($secret) = @_;
	my $config = JSON::PP::decode_json(PayoutTest::slurp("$t->{dir}/sandbox.json"));
	$config->{webhook_secrets}{MERCHANT01} = $secret;
	PayoutTest::write_file("$t->{dir}/sandbox.json", JSON::PP::encode_json($config));
	$t->kill_sandbox;
	$t->restart_sandbox;
}

my $old_webhook = 'whsec_' . PayoutTest::webhook_key();
my $new_webhook = 'whsec_' . encode_base64('another key of thirty-two bytes.', '');

# --- An overlap: notifications carry both signatures, so that the merchant may change over at any moment of it.
$t->sql("select payout.set_secret('merchant:MERCHANT01', 'webhook_secret', '$new_webhook', now() + interval '1 hour')");
my $with_old = $t->pay;
$t->wait_told($with_old, 'payout.paid');
receive_with($new_webhook);
my $with_new = $t->pay;
$t->wait_told($with_new, 'payout.paid');
is($t->sql("select count(*) from payout.merchant_secret where merchant_id = 'MERCHANT01'"), '2', 'both values are there');

# --- Its end: the old value is not used any more, and the worker removes it.
$t->set_clock(3700);
receive_with($old_webhook);
my $late = $t->pay;
$t->wait_sql("select exists (select from payout.notification where txid = '$late' and http_status = 401)");
receive_with($new_webhook);
$t->wait_told($late, 'payout.paid');
$t->wait_for('the old value is removed', sub { $t->sql("select count(*) from payout.merchant_secret where merchant_id = 'MERCHANT01'") eq '1' }, 150);
$t->set_clock(0);

# --- The bank changes its key and the shared secret: its calls are taken under each that is good.
sub stamp { return strftime('%Y-%m-%dT%H:%M:%S+07:00', gmtime(time + 7 * 3600)); }

sub call
{
	my ($path, $headers, $body) = @_;
	my $answer = $t->sql(sprintf "select status, body from payout.bank_notification('BANK1', 'POST', '%s', \$h\$%s\$h\$, \$b\$%s\$b\$)", $path, JSON::PP::encode_json($headers), $body);
	return split /\|/, $answer, 2;
}

# The status and the token that a bank with this key gets.
sub ask_token
{
	my ($key) = @_;
	my ($stamp, $signature) = (stamp(), '');
	PayoutTest::write_file("$t->{dir}/text", "PAYOUT-CLIENT|$stamp");
	IPC::Run::run([ 'openssl', 'dgst', '-sha256', '-sign', $key, "$t->{dir}/text" ], '>', \$signature) or die 'openssl';
	my ($status, $body) = call('/snap/v1.0/access-token/b2b',
		{ 'X-TIMESTAMP' => $stamp, 'X-CLIENT-KEY' => 'PAYOUT-CLIENT', 'X-SIGNATURE' => encode_base64($signature, '') }, '{"grantType":"client_credentials"}');
	return ($status, $status == 200 ? JSON::PP::decode_json($body)->{accessToken} : undef);
}

my $external_id = 0;

# The status of a notice that is signed with this secret; none is a replay of another.
sub notice
{
	my ($secret, $token) = @_;
	my ($path, $stamp, $body) = ('/snap/v1.0/transfer-interbank-bulk/notify', stamp(), sprintf '{"bulkId":"B%d","partnerBulkId":"P","bulkObject":[]}', ++$external_id);
	my $signature = hmac_sha512_base64("POST:$path:$token:" . sha256_hex($body) . ":$stamp", $secret);
	$signature .= '=' while length($signature) % 4;
	my ($status) = call($path, { Authorization => "Bearer $token", 'X-TIMESTAMP' => $stamp, 'X-SIGNATURE' => $signature, 'X-PARTNER-ID' => 'PARTNER1',
		'X-EXTERNAL-ID' => 9000 + $external_id }, $body);
	return $status;
}

system_or_bail('openssl', 'genpkey', '-quiet', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048', '-out', "$t->{dir}/next.pem");
system_or_bail('openssl', 'pkey', '-in', "$t->{dir}/next.pem", '-pubout', '-out', "$t->{dir}/next.pub");
my $next = PayoutTest::slurp("$t->{dir}/next.pub");
is((ask_token("$t->{dir}/next.pem"))[0], 401, 'a key that we do not know');
$t->sql("select payout.set_secret('channel:BANK1', 'bank_public_key', '$next', now() + interval '1 hour')");
is((ask_token("$t->{dir}/$_.pem"))[0], 200, "both keys of the bank are good: $_") for qw(bank next);
my $token = (ask_token("$t->{dir}/next.pem"))[1];
$t->sql("select payout.set_secret('channel:BANK1', 'client_secret', 'the next secret', now() + interval '1 hour')");
is(notice($_, $token), 200, "both secrets are good: $_") for 'a-shared-client-secret', 'the next secret';
is(notice('a third', $token), 401, 'no other is');
$t->set_clock(3700);
is((ask_token("$t->{dir}/bank.pem"))[0], 401, 'then the old key is not');
is((ask_token("$t->{dir}/next.pem"))[0], 200, 'and the new one is');
is(notice('a-shared-client-secret', $token), 401, 'nor the old secret');
is(notice('the next secret', $token), 200, 'and the new one is');
$t->set_clock(0);
$t->sql("select payout.set_secret('channel:BANK1', 'bank_public_key', '" . PayoutTest::slurp("$t->{dir}/bank.pub") . "'), payout.set_secret('channel:BANK1', 'client_secret', 'a-shared-client-secret')");

# --- Without a secret file nothing is stored, nothing opens.
my $first = $t->{secret_file};
configure('payout.secret_file' => '');
my ($status, $out, $err) = $node->psql('app', "select payout.set_secret('merchant:MERCHANT02', 'merchant_key', 'x')");
like($err, qr/payout\.secret_file is not set\nHINT:  /, 'set_secret is refused with a hint');
is($t->sqlstate("select payout.set_secret('merchant:MERCHANT02', 'merchant_key', 'x')"), 'PY015', 'as PY015');
is(health('secrets_sealed'), 'critical', 'health() says that none opens');
configure('payout.secret_file' => $first);
is(health('secrets_sealed'), 'ok', 'all open again');

# --- Rotation. Tokens that are out, one of them reserved; then another file.
sub make_file
{
	my ($name) = @_;
	PayoutTest::write_file("$t->{dir}/$name", join '', map { chr(33 + int rand 90) } 1 .. 64);
	chmod 0600, "$t->{dir}/$name";
	return "$t->{dir}/$name";
}

my @out = map { [ $t->issue ] } 1 .. 3;
$t->validate($out[1][1], reference => 'RESERVED');
my $key_ids = "select count(*), count(distinct key_id), bool_and(key_id = payout.seal_key_id()) from payout.stored_secrets()";
my ($secrets) = split /\|/, $t->sql($key_ids);
cmp_ok($secrets, '>=', 5, 'there are secrets');
is($t->sqlstate('select payout.rotate_secret_key()'), 'PY015', 'nothing to rotate from');
my $second = make_file('second');
configure('payout.secret_file_old' => $first);
is($t->sqlstate('select payout.rotate_secret_key()'), 'PY015', 'nor when both are the same');
configure('payout.secret_file' => $second);
is($t->sql('select payout.is_armed()'), 'f', 'a new file is not armed by itself');
is(health('secrets_sealed'), 'ok', 'what was sealed with the old one opens');
is(health('secret_rotation'), 'warning', 'health() says that it is to be rotated');
is($t->sqlstate($t->validate_sql($out[0][1])), 'PY015', 'no token is validated meanwhile');
is($t->sql($key_ids), "$secrets|1|f", 'all sealed with the old one');
is($t->sql('select payout.rotate_secret_key()'), $secrets, 'rotated: all secrets');
is($t->sql($key_ids), "$secrets|1|t", 'all sealed with the new one');
is($t->sql('select payout.rotate_secret_key()'), '0', 'again: nothing to do');
is($t->sql('select payout.is_armed()'), 't', 'armed for the new one');
like(health('secret_rotation', 'status || detail'), qr/^ok.*tokens/, 'health() says that tokens need the old one');

my ($new_txid, $new_token) = $t->issue;
is($t->sql("select count(distinct key_id) from payout.cashout_token"), '2', 'a new token is made with the new key');
$t->validate($_, reference => "V$_") for $out[0][1], $new_token;
is($t->confirm($out[0][1], reference => "V$out[0][1]"), 'paid', 'a token issued before is good');
is($t->confirm($out[1][1], reference => 'RESERVED'), 'paid', 'as is one that was reserved before');
is($t->confirm($new_token, reference => "V$new_token"), 'paid', 'and a new one');
is($t->sqlstate($t->validate_sql($out[0][1])), 'PY010', 'once');
is($t->sqlstate($t->validate_sql(PayoutTest::random_token($t->sql("select payout.slot('MERCHANT01')")))), 'PY010', 'a wrong one is wrong');
my $again = $t->sql("select cashout_token from payout.reissue_token('MERCHANT01', '$out[2][0]')");
is($t->sqlstate($t->validate_sql($out[2][1])), 'PY010', 'one that was replaced is dead');
like(health('secret_rotation', 'status || detail'), qr/^warning.*nothing needs/, 'health() says that nothing needs the old one');
my $sent = $t->pay;
$t->wait_state($sent, 'paid');

configure('payout.secret_file_old' => '');
is(health('secret_rotation'), 'ok', 'done');
is(health('secrets_sealed'), 'ok', 'and all open without the old one');
$t->validate($again, reference => 'AGAIN');
is($t->confirm($again, reference => 'AGAIN'), 'paid', 'tokens are good');
is($t->sqlstate($t->confirm_sql($out[0][1], reference => "V$out[0][1]")), 'PY010', 'but those of the old one are unknown now');

# --- An unusable old file is as none, and is named.
PayoutTest::write_file("$t->{dir}/short", 'x');
configure('payout.secret_file_old' => "$t->{dir}/short");
is(health('secret_rotation'), 'critical', 'health() names a bad payout.secret_file_old');
is(health('secrets_sealed'), 'ok', 'which does no harm');
my ($cash, $cash_token) = $t->issue;
is($t->validate($cash_token, reference => 'CASH'), $cash, 'tokens go on');
configure('payout.secret_file_old' => '');

# --- Once more, now under its name; the lock that keeps copies apart goes with the file.
my $third = make_file('third');
rename $second, "$t->{dir}/second_before" or die;
rename $third, $second or die;
configure('payout.secret_file_old' => "$t->{dir}/second_before");
is($t->sql('select payout.rotate_secret_key()'), $secrets, 'rotated under its name');
is($t->confirm($cash_token, reference => 'CASH'), 'paid', 'a reservation from before is confirmed');
my $after = $t->pay;
$t->wait_state($after, 'paid');
configure('payout.secret_file_old' => '');
$node->backup('clone');
my $clone = PostgreSQL::Test::Cluster->new('clone');
$clone->init_from_backup($node, 'clone');
$clone->start;
is($clone->safe_psql('app', 'select payout.arm(), payout.is_armed()'), '|t', 'a clone has the same file, and is armed');
$t->wait_for('and is kept out by the lock on it', sub { PayoutTest::slurp($clone->logfile) =~ /another process holds payout\.secret_file/ });
is($clone->safe_psql('app', "select detail ~ 'copy' from payout.health() where check_name = 'armed'"), 't', 'as its health() says');
is(health('armed'), 'ok', 'the original goes on');

# With the file of before, or with a stranger's as the old one, it opens nothing and is not armed.
$clone->safe_psql('postgres', "alter system set payout.secret_file = '$t->{dir}/second_before'");
$clone->restart;
is($clone->safe_psql('app', 'select payout.is_armed(), cardinality(payout.unopened_secrets())'), "f|$secrets", 'a copy with the file of before opens nothing');
is($clone->safe_psql('app', "select status from payout.health() where check_name = 'secrets_sealed'"), 'critical', 'health() says so');
$clone->safe_psql('postgres', "alter system set payout.secret_file_old = '$first'; select pg_reload_conf()");
$t->wait_for('it has read its settings', sub { $clone->safe_psql('app', 'show payout.secret_file_old') eq $first });
is($clone->safe_psql('app', 'select payout.rotate_secret_key(), payout.is_armed()'), '0|f', 'and a rotation from a stranger\'s file changes nothing');
$clone->stop;

# --- Dumps
my $plain = '';
my @sealed = split /\n/, $t->sql(q(select encode(sealed, 'hex') from payout.stored_secrets()));
IPC::Run::run([ 'pg_dump', $node->connstr('app') ], '>', \$plain) or die 'pg_dump';
like($plain, qr/^COPY payout\.merchant /m, 'a dump has the merchants');
is(scalar(grep { index($plain, $_) >= 0 } @sealed), 0, 'and no secret');
$node->safe_psql('postgres', 'create database no_secrets; create database all_secrets');
ok(IPC::Run::run([ 'pg_dump', '-Fc', $node->connstr('app') ], '|', [ 'pg_restore', '--exit-on-error', '-d', $node->connstr('no_secrets') ]), 'it is restored');
is($node->safe_psql('no_secrets', 'select count(*) from payout.stored_secrets()'), '0', 'without secrets');
is($node->safe_psql('no_secrets', "select payout.set_secret('merchant:MERCHANT01', 'webhook_secret', 'x'); select count(*) from payout.stored_secrets()"), "\n1", 'which can be set again');
{
	local $ENV{PGOPTIONS} = '-c payout.dump_secrets=on';
	IPC::Run::run([ 'pg_dump', $node->connstr('app') ], '>', \$plain) or die 'pg_dump';
	is(scalar(grep { index($plain, $_) >= 0 } @sealed), $secrets, 'asked for, it has them, sealed');
	ok(IPC::Run::run([ 'pg_dump', '-Fc', $node->connstr('app') ], '|', [ 'pg_restore', '--exit-on-error', '-d', $node->connstr('all_secrets') ]), 'it is restored');
}
is($node->safe_psql('all_secrets', 'select count(*), cardinality(payout.unopened_secrets()) from payout.stored_secrets()'), "$secrets|0", 'and all open beside the same file');
$t->sql('create role somebody login');
is($t->sqlstate('set role somebody; set payout.dump_secrets = on'), '42501', 'only a superuser asks for them');
$t->sound('after all');
done_testing();
