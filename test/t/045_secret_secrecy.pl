# 045_secret_secrecy.pl: the value of a secret that a client sends as a bind parameter is nowhere but at the client: not in
# the server's log with everything logged, not in statistics or activity, not in tables, dumps (with the secrets asked for),
# data files or WAL, whether it is taken, refused, repeated, replaced or undone. The same searches find one that is given away.
use strict;
use warnings;
use lib 'test/t/lib';
use LeakTest;
use MIME::Base64 qw(encode_base64);
use Test::More;

my $t = LeakTest->new;
my $node = $t->{node};

my $set = 'select payout.set_secret(:owner, :name, :value';
my %script = (
	set => "$set);\n",
	overlap => "$set, now() + interval '1 hour');\n",
	past => "$set, now() - interval '1 hour');\n",
	far => "$set, 'infinity');\n",
	undone => "begin;\n$set);\nrollback;\n",
	failing => "begin;\n$set);\nselect 1 / (length(:value) - length(:value));\ncommit;\n",
	cast => "select :value::text::inet;\n");

my $made = 0;

# Printable characters that occur nowhere else.
sub value { my ($length) = @_; return join '', sprintf('%02d', ++$made), map { ('A' .. 'Z', 'a' .. 'z', '0' .. '9', '+', '/')[rand 64] } 3 .. $length || 40; }

sub call
{
	my ($call, $owner, $name, $value, %option) = @_;
	return $t->client($script{$call}, { owner => $owner, name => $name, value => $value }, %option);
}

my (@value, @webhook);
sub kept { my $value = value(@_); push @value, $value; return $value; }

my $m = 'merchant:MERCHANT01';
is(call('set', $m, 'merchant_key', kept()), 1, 'set');
is(call('set', $m, 'merchant_key', kept(), mode => 'prepared'), 1, 'replaced, prepared');
is(call('overlap', $m, 'merchant_key', kept()), 1, 'with an overlap');
is(call('overlap', $m, 'merchant_key', $value[-1]), 1, 'repeated');
is(call('set', 'channel:BANK1', $_, kept(300)), 1, "a channel's $_") for qw(private_key bank_public_key);
is(call('set', 'cvs:STORE1', 'client_secret', kept()), 1, 'a store\'s');
is(call($_, $m, 'client_secret', kept()), 0, "refused: $_") for qw(past far);
is(call('overlap', 'channel:BANK1', 'private_key', kept(300)), 0, 'refused: an overlap of private keys');
is(call('set', $_->[0], $_->[1], kept()), 0, "refused: $_->[0] $_->[1]") for [ 'merchant:NOBODY0000', 'merchant_key' ], [ $m, 'no_such_name' ], [ 'nobody', 'merchant_key' ];
is(call('set', $m, 'merchant_key', kept(16385)), 0, 'refused: too long');
is(call('undone', $m, 'client_secret', kept()), 1, 'undone');
is(call('failing', $m, 'client_secret', kept()), 0, 'in a transaction that fails');
my $lock = "select from payout.merchant where merchant_id = 'MERCHANT01' for update";
is($t->waiting($lock, sub { }, $script{set}, { owner => $m, name => 'public_key', value => kept() }), 1, 'while it waits for a lock');
is($t->waiting($lock, sub { $t->sql("select pg_cancel_backend(pid) from pg_stat_activity where application_name = 'client'") },
	$script{set}, { owner => $m, name => 'public_key', value => kept() }), 0, 'cancelled while it waits');

# One that the worker uses: its key, decoded, is as secret as its text.
my $webhook_key = value(32);
is(call('overlap', $m, 'webhook_secret', 'whsec_' . encode_base64($webhook_key, '')), 1, 'a webhook secret');
push @value, $webhook_key, encode_base64($webhook_key, '');
my $paid = $t->pay;
$t->wait_sql("select exists (select from payout.notification where txid = '$paid' and delivered_at is not null)");

# Without a file, and through a rotation.
my $file = $t->{secret_file};
$node->safe_psql('postgres', "alter system set payout.secret_file = ''; select pg_reload_conf()");
$t->wait_sql("select current_setting('payout.secret_file') = ''");
is(call('set', $m, 'merchant_key', kept()), 0, 'refused: without a file');
PayoutTest::write_file("$file.new", 'n' . 'x' x 63);
chmod 0600, "$file.new";
$node->safe_psql('postgres', "alter system set payout.secret_file = '$file.new'; alter system set payout.secret_file_old = '$file'; select pg_reload_conf()");
$t->wait_sql("select current_setting('payout.secret_file') <> '' and current_setting('payout.secret_file_old') <> ''");
cmp_ok($t->sql('select payout.rotate_secret_key()'), '>', 5, 'rotated');

# The control is given away in every place.
my $control = value();
is(call('set', $m, 'merchant_key', $control, mode => 'simple'), 1, 'the control: as a literal');
$t->waiting($lock, sub { }, $script{set}, { owner => $m, name => 'public_key', value => $control }, mode => 'simple');
$t->sql("do \$\$ begin perform '$control'; end \$\$");
is(call('cast', $m, 'merchant_key', $control), 0, 'in an error that shows its argument');
$t->sql("select payout.reject('MERCHANT01', '" . $t->register_cashout . "', 'was $control')");
my $logged = value();
call('set', $m, 'public_key', $logged, options => '-c log_parameter_max_length=-1');

$ENV{PGOPTIONS} = '-c payout.dump_secrets=on';
my $place = $t->places;
like($place->{dump}, qr/^MERCHANT01\tmerchant_key\t/m, 'the dump has the secrets, sealed');
like($place->{pg_stat_statements}, qr/payout\.replace_secret\(/, 'nested statements are in the statistics');
like($place->{log}, qr/Query Text: .*payout\.replace_secret\(/, 'and in the log');

# With log_verbose the plan of a client's own statement shows its parameters: that alone is left out, and counted.
my @lines = split /\n/, $place->{log};
my @others = grep { !/^\s+Output: payout\.set_secret\('/ } @lines;
cmp_ok(@lines - @others, '>=', 8, 'auto_explain.log_verbose must be off: it shows what clients bind');
$place->{log} = join "\n", @others;

# Any 12 characters in a row, or their codes in hex.
sub pattern
{
	my %part;
	for my $value (@_)
	{
		$part{substr $value, $_, 12} = 1 for grep { $_ % 4 == 0 } 0 .. (length($value) > 80 ? 64 : length($value) - 12);
	}
	my $all = join '|', map { (quotemeta, unpack 'H*', $_) } sort keys %part;
	return qr/$all/;
}

$t->search($place, pattern(@value), pattern($control));
ok($place->{log} =~ pattern($logged), 'log_parameter_max_length is what keeps a bind parameter out of the log');
done_testing();
