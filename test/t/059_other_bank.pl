# 059_other_bank.pl: a channel is one relationship with one bank's books. What was sent to one bank is not asked for, nor sent, at
# another; what one bank has checked, another that is to pay checks again.
use strict;
use warnings;
use lib 'test/t/lib';
use Doorway;
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(sandbox => { forget_references => JSON::PP::true }, channel => { mode => 'single', not_found_grace_s => 0, not_found_count => 1 });
my $x = Doorway->new($t->{bank_port});
my $y = Doorway->new($t->{bank_port});
sub at { my ($door) = @_; return "\"base_url\": \"http://127.0.0.1:$door->{port}/bank\"" }
sub alter { my ($options, $session) = @_; return $t->sqlstate("select payout.alter_channel('BANK1', '{$options}')") }
sub option_of { my ($name) = @_; return $t->sql("select options ->> '$name' from payout.channel") }

# Nothing has gone through it yet: it is being set up.
is(alter(at($x)), '00000', 'a channel that was never used goes where it is told');
my $first = $t->pay;
$t->wait_state($first, 'paid');

# Everything that names the bank, and us to it
for my $changed (at($y), '"partner_id": "PARTNER2"', '"client_id": "OTHER"', '"path_prefix": "/v2"')
{
	is(alter($changed), 'PY004', "$changed: not while it pays");
	is(alter("$changed, \"same_books\": false"), 'PY004', "$changed: nor when it is said to be another");
}
is(alter('"connect_timeout_ms": 2000, "source_account_no": "888801000157508"'), '00000', 'other options change at any time');
is(alter('"connect_timeout_ms": 2500, "same_books": 1'), 'PY016', 'the word is true or false');
is(option_of('same_books'), '', 'and is no option');

# Sent, and in doubt: paused or not
$t->fault(service => '18', kind => 'reset_after', count => 1);
$t->fault(service => '36', kind => 'answer', http => 500, code => '00');
my $doubt = $t->pay;
$t->wait_state($doubt, 'suspect');
$t->sql("select payout.pause_channel('BANK1', 'a new bank')");
is(alter(at($y)), 'PY004', 'not while one is in doubt');
$t->clear_faults;
$t->sql("select payout.resume_channel('BANK1')");
$t->wait_state($doubt, 'paid');

# Accepted, and to be paid later by its answers; by a bulk as well
$t->fault(service => '36', kind => 'answer', http => 500, code => '00');
$t->fault(service => '18', kind => 'answer', http => 202, code => '00', count => 1, after_booking => JSON::PP::true);
my $accepted = $t->pay;
$t->wait_state($accepted, 'processing');
$t->sql("select payout.pause_channel('BANK1', 'a new bank')");
is(alter(at($y)), 'PY004', 'not while one is accepted and not paid');
is(alter(at($y) . ', "same_books": true'), '00000', 'with the word that the books are the same, at any time');
$t->clear_faults;
$t->sql("select payout.resume_channel('BANK1')");
$t->wait_state($accepted, 'paid');
is(join(' ', map { $t->times_paid($_) } $doubt, $accepted), '1 1', 'each paid once');
is($t->sql('select epoch from payout.channel'), '2', 'and nothing is checked again');

# Checked by the one, paid by the other: after another check there
my @checked = map { $t->register } 1 .. 3;
$t->wait_sql("select bool_and(account_check = 'matched') from payout.payout where state = 'registered'");
$t->approve($checked[0]);
$t->wait_state($checked[0], 'paid');
$t->sql("select payout.pause_channel('BANK1', 'a new bank')");
$t->approve($checked[1]);
is(alter(at($x)), '00000', 'paused, and nothing that was sent is open: another bank');
my ($accounts, $bytes) = ($t->requests('16'), $x->say('bytes'));
$t->fault(service => '18', kind => 'delay', delay_ms => 1);
$t->sql("select payout.resume_channel('BANK1')");
$t->approve($checked[2]);
$t->wait_state($_, 'paid') for @checked[1, 2];
is($t->requests('16') - $accounts, 2, 'it checks each of both accounts before it pays');
my $new = $t->pay;
$t->wait_state($new, 'paid');
is($t->requests('16') - $accounts, 3, 'and each later one once');
is(join(' ', map { $t->times_paid($_) } @checked, $new), '1 1 1 1', 'each paid once');

# At the new bank the account has another name: it is held, though the old one knew it.
my $held = $t->register;
$t->wait_sql("select account_check = 'matched' from payout.payout where txid = '$held'");
$t->sql("select payout.pause_channel('BANK1', 'a new bank')");
is(alter(at($y)), '00000', 'another bank again');
$t->fault(service => '16', kind => 'answer', http => 404, code => '11');
$t->sql("select payout.resume_channel('BANK1')");
$t->approve($held);
$t->wait_state($held, 'failed');
is($t->times_paid($held), 0, 'an account that the new bank does not know is not paid');
$t->clear_faults;
$t->sound('at the end');
done_testing();
