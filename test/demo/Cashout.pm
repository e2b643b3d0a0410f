# Cashout.pm: the 24 steps of a cashout, and what happens around them: two cashiers with one token, a reversal, an
# expiry, the stores' lists of the day. Each step asks and tells what it observed; merchant and stores call by roles of
# their own. demo.pl enters.
#
# Here alone a token can be read: it is what the customer is shown. Nothing but its digest stays in the database.
package Cashout;

use strict;
use warnings;
use JSON::PP ();
use Report;

my $hour_s = 3600;

# What the shop owes its customers in cash.
my @customers = (
	{ reference => 'CASH-2001', name => 'Wati Kusuma', phone => '081200002001', amount => 350000 },
	{ reference => 'CASH-2002', name => 'Maya Putri', phone => '081200002002', amount => 150000 },
	{ reference => 'CASH-2003', name => 'Hendra Gunawan', phone => '081200002003', amount => 200000 });

my ($stage, $merchant, %as_merchant, @stores, $first, $second, @tokens);

# The whole flow on a stage that is set. Each store is {code, name, role}.
sub run
{
	($stage, $merchant, my $role, @stores) = @_;
	%as_merchant = (m => $merchant, as => $role);
	heading('Cashout');
	my ($redeemed, $taken_back, $forgotten) = @customers;
	register($redeemed);
	approve($redeemed);
	validate($redeemed);
	confirm($redeemed);
	notifications($redeemed);
	heading('Cashout: a store takes its validation back');
	reverse_at_store($taken_back);
	heading('Cashout: nobody comes for the cash');
	expire($forgotten);
	heading('Cashout: the stores\' lists of the day');
	settle();
	heading('Cashout: who may do what');
	keep_out($redeemed);
	guess();
}

sub available { return $stage->query("select available from payout.balance(:'m')", %as_merchant); }

sub state_of { return $stage->query("select state from payout.payout where txid = :'t'", t => shift->{txid}); }

sub order
{
	my ($c, $as) = @_;
	return ("select txid, state, amount, fee from payout.register_cashout(:'m', :'r', :'a', :'n', :'p')",
		%as_merchant, r => $c->{reference}, a => $c->{amount}, n => $c->{name}, p => $c->{phone});
}

# The token is the customer's from here.
sub give_approval
{
	my ($c) = @_;
	@$c{qw(state token valid_until)} = @{ ($stage->rows(
		"select state, cashout_token, to_char(valid_until at time zone 'Asia/Jakarta', 'YYYY-MM-DD HH24:MI') from payout.approve(:'m', :'t')",
		%as_merchant, t => $c->{txid}))[0] };
	push @tokens, $c->{token};
}

# Registers and approves without a word.
sub issue
{
	my ($c) = @_;
	$c->{txid} = $stage->query(order($c));
	give_approval($c);
}

# A store's calls, as (sql, values) for Theatre. Cashiers type a token as it is shown, with its blanks.
sub ask_validate
{
	my ($store, $c, $reference, $terminal) = @_;
	return ("select txid, amount, currency, beneficiary_name, to_char(reserved_until at time zone 'Asia/Jakarta', 'HH24:MI') "
		. "from payout.cashout_validate(:'c', :'token', :'terminal', :'r')",
		as => $store->{role}, c => $store->{code}, token => grouped($c->{token}), terminal => $terminal // 'TILL-1', r => $reference);
}

sub ask_confirm
{
	my ($store, $c, $reference) = @_;
	return ("select txid, state, amount, at from payout.cashout_confirm(:'c', :'token', :'r')",
		as => $store->{role}, c => $store->{code}, token => grouped($c->{token}), r => $reference);
}

sub ask_reverse
{
	my ($store, $c, $reference, $reason) = @_;
	return ("select txid, state, amount, at from payout.cashout_reverse(:'c', :'token', :'r', :'reason')",
		as => $store->{role}, c => $store->{code}, token => grouped($c->{token}), r => $reference, reason => $reason);
}

# A call whose repeat must answer the same.
sub twice
{
	my (@call) = @_;
	my ($answer) = $stage->rows(@call);
	my ($again) = $stage->rows(@call);
	return ($answer, must("@$answer" eq "@$again", 'the same answer', 'ANOTHER ANSWER'));
}

# Steps 1 to 6
sub register
{
	my ($c) = @_;
	my $before = available();
	my @refusal = $stage->failure(order({ %$c, reference => 'CASH-2000', amount => 99000000 }));
	my $left = $stage->query("select count(*) from payout.payout where reference_no = 'CASH-2000'");
	my ($row) = $stage->rows(order($c));
	@$c{qw(txid state amount fee)} = @$row;
	line('step 1-2', 'customer -> merchant -> platform: checkout; registration of a cashout');
	more("$c->{reference}  $c->{name}, phone $c->{phone}, is to get " . rupiah($c->{amount}) . " in cash; available before: " . rupiah($before));
	more('CASH-2000 over ' . rupiah(99000000) . ': ' . refused('PY001', @refusal) . "; payouts left behind: " . must($left == 0, $left, $left));
	line('step 3-4', 'platform: balance checked; TXID created and balance charged in the same transaction');
	more("$c->{txid}: " . charged_at_once($c));
	my $after = available();
	more('available: ' . rupiah($before) . ' - ' . rupiah($c->{amount}) . ' - fee ' . rupiah($c->{fee}) . ' = ' . rupiah($after)
		. must($before - $c->{amount} - $c->{fee} == $after, '', ' (WRONG)'));
	line('step 5-6', 'platform -> merchant: answer');
	more("$c->{reference} -> $c->{txid}  $c->{state}");
	my ($again) = $stage->rows(order($c));
	more('asked again: ' . must("@$again" eq "@$row" && available() == $after, 'the same answer, nothing charged', 'ANOTHER ANSWER OR CHARGE'));
}

# Which transaction wrote a row is in the row itself (xmin).
sub charged_at_once
{
	my ($c) = @_;
	my ($row) = $stage->rows("select count(distinct x), string_agg(what, ', ' order by what) from (
		select xmin::text, 'payout' from payout.payout where txid = :'t'
		union all select xmin::text, 'transfer ' || kind || ' ' || debit_account || ' -> ' || credit_account from payout.transfer where txid = :'t') w (x, what)",
		t => $c->{txid});
	return must($row->[0] == 1, 'one transaction wrote ', 'SEVERAL TRANSACTIONS WROTE ') . $row->[1];
}

# Steps 7 to 12
sub approve
{
	my ($c) = @_;
	give_approval($c);
	my ($position) = $stage->query("select payout.money_position(:'m', :'t')", m => $merchant, t => $c->{txid});
	line('step 7-8', 'customer -> merchant -> platform: approval asked for and given');
	more("$c->{reference}  $c->{state}");
	line('step 9', 'platform: charge checked; token generated');
	more('charge: ' . must($position eq 'in_transit', 'in transit', "ELSEWHERE: $position") . '; token: 4 digits of the merchant\'s slot, 11 random ones, a check digit');
	more('what the table holds of it: ' . held_of($c));
	line('step 10-12', 'platform -> merchant -> customer -> cashier: token returned, shown, handed over');
	more('token ' . grouped($c->{token}) . ", good until $c->{valid_until} in Jakarta; it is readable in this answer and never again");
	my ($again) = $stage->query("select coalesce(cashout_token, 'no token') from payout.approve(:'m', :'t')", %as_merchant, t => $c->{txid});
	more('approved again: ' . must($again eq 'no token', $again, 'THE TOKEN AGAIN'));
}

sub held_of
{
	my ($c) = @_;
	my ($row) = $stage->rows("select length(k.digest), left(encode(k.digest, 'hex'), 12), strpos(k::text, :'token') from payout.cashout_token k where k.txid = :'t'",
		t => $c->{txid}, token => $c->{token});
	return "a digest of $row->[0] bytes, $row->[1]..., under a key outside the database; the digits: "
		. must($row->[2] == 0 && index($stage->dump_database, $c->{token}) < 0, 'nowhere in a dump of the database', 'FOUND IN THE DATABASE');
}

# Steps 13 to 17: of two cashiers at one moment, one gets it. Whoever that is tells the rest of the story.
sub validate
{
	my ($c) = @_;
	my @answers = $stage->at_once(map { [ ask_validate($_, $c, "$_->{code}-0001") ] } @stores);
	my ($winner) = grep { $answers[$_]{row} } 0, 1;
	my ($loser) = grep { $answers[$_]{error} } 0, 1;
	die "of two cashiers with one token not exactly one was answered\n" unless defined $winner && defined $loser;
	($first, $second) = @stores[ $winner, $loser ];
	$c->{cvs_reference} = "$first->{code}-0001";
	my ($txid, $amount, $currency, $name, $until) = @{ $answers[$winner]{row} };
	line('step 13-14', 'cashier -> CVS -> platform: token typed in, with its blanks; cashout requested');
	more("two cashiers at the same moment, one at $stores[0]{code}, one at $stores[1]{code}; terminal TILL-1, references " . join(', ', map { "$_->{code}-0001" } @stores));
	more("$second->{code}  " . refused('PY010', @{ $answers[$loser]{error} }));
	line('step 15-17', 'platform -> CVS: token validated and reserved for this store; answer');
	more("$first->{code}  $txid: $currency " . rupiah($amount) . " for $name, reserved until $until in Jakarta");
	more("the same reference again: " . must($stage->query(ask_validate($first, $c, $c->{cvs_reference})) eq $txid, 'the same answer', 'ANOTHER ANSWER')
		. '; state ' . must(state_of($c) eq 'token_reserved', 'token_reserved', state_of($c)));
}

# Steps 18 to 22
sub confirm
{
	my ($c) = @_;
	line('step 18-19', 'CVS -> customer: cash handed over');
	more('outside: no system sees it');
	my ($answer, $again) = twice(ask_confirm($first, $c, $c->{cvs_reference}));
	line('step 20-22', 'CVS -> platform: notification; validated; transaction checked and updated');
	more("$first->{code}  $c->{cvs_reference}: " . must($answer->[1] eq 'paid', 'paid', "NOT PAID, $answer->[1]")
		. ', ' . rupiah($answer->[2]) . "; confirmed again: $again");
	more('moved: ' . join('; ', map { "$_->[0] -> $_->[1] " . rupiah($_->[2]) }
		$stage->rows("select debit_account, credit_account, amount from payout.transfer where txid = :'t' and kind = 'settle'", t => $c->{txid})));
	more("$second->{code}  the token afterwards: " . refused('PY010', $stage->failure(ask_validate($second, $c, "$second->{code}-0002"))));
}

# Steps 23 and 24
sub notifications
{
	my ($c) = @_;
	line('step 23-24', 'platform -> merchant: notification, as the merchant\'s web server received it');
	told($c, 'payout.approved, payout.paid');
	more('its history:');
	more(map { sprintf '    %s. %-14s %-15s by %-14s %s', @$_ } $stage->rows("select event_no, to_state, coalesce(event, '-'), role_name, coalesce(reason, '')
		from payout.payout_event where txid = :'t' order by 1", t => $c->{txid}));
}

# Waits until the merchant's end has received all that is owed for a payout, and tells what.
sub told
{
	my ($c, $expected) = @_;
	$stage->wait_for("the notifications of $c->{reference}", sub { $stage->query("select count(*) > 0 and bool_and(delivered_at is not null)
		from payout.notification where txid = :'t'", t => $c->{txid}) eq 't' });
	my @received = $stage->webhooks_of($merchant, $c->{reference});
	more("$c->{reference}  " . join(', ', map { $_->[0] . must($_->[1], '', ' (BAD SIGNATURE)') } @received)
		. must(join(', ', map { $_->[0] } @received) eq $expected, '; signatures verified by the merchant', "; EXPECTED $expected"));
}

# Validated at one store, taken back, redeemed at the other. The first token was lost on the way.
sub reverse_at_store
{
	my ($c) = @_;
	issue($c);
	my %old = %$c;
	($c->{token}) = $stage->query("select cashout_token from payout.reissue_token(:'m', :'t')", %as_merchant, t => $c->{txid});
	push @tokens, $c->{token};
	more("$c->{reference}  $c->{name}, " . rupiah($c->{amount}) . ': token ' . grouped($old{token}) . ' was lost; issued again: ' . grouped($c->{token}));
	more("$second->{code}  the lost one: " . refused('PY010', $stage->failure(ask_validate($second, \%old, "$second->{code}-0003"))));
	my $reference = "$second->{code}-0004";
	$stage->rows(ask_validate($second, $c, $reference));
	more("$second->{code}  $reference: validated, " . must(state_of($c) eq 'token_reserved', 'token_reserved', state_of($c)));
	my ($answer, $again) = twice(ask_reverse($second, $c, $reference, 'the till has no cash'));
	more("$second->{code}  $reference: reversed, \"the till has no cash\": " . must($answer->[1] eq 'token_issued', 'token_issued', $answer->[1])
		. "; reversed again: $again");
	more("$second->{code}  $reference: validated after that: " . refused('PY004', $stage->failure(ask_validate($second, $c, $reference))));
	$c->{cvs_reference} = "$first->{code}-0002";
	$stage->rows(ask_validate($first, $c, $c->{cvs_reference}));
	($answer) = $stage->rows(ask_confirm($first, $c, $c->{cvs_reference}));
	more("$first->{code}  $c->{cvs_reference}: validated and confirmed: " . must($answer->[1] eq 'paid', 'paid', $answer->[1]));
	told($c, 'payout.approved, payout.reversed, payout.paid');
}

# The clock that expiry goes by is moved past the token's end, and set right again.
sub expire
{
	my ($c) = @_;
	my $before = available();
	issue($c);
	my ($fee) = $stage->query("select fee from payout.inquiry(:'m', :'t')", %as_merchant, t => $c->{txid});
	more("$c->{reference}  $c->{name}: " . rupiah($c->{amount}) . ' and a fee of ' . rupiah($fee) . ' charged: available ' . rupiah($before) . ' -> ' . rupiah(available())
		. "; token good until $c->{valid_until}");
	$stage->move_clock(25 * $hour_s);
	$stage->wait_for('the expiry', sub { state_of($c) ne 'token_issued' });
	more('25 hours later by the settable clock: ' . must(state_of($c) eq 'expired', 'expired', state_of($c)) . ', refunded with its fee by the worker: available '
		. rupiah(available()) . must(available() == $before, ' as before', ' INSTEAD OF BEFORE'));
	more("$first->{code}  the token now: " . refused('PY011', $stage->failure(ask_validate($first, $c, "$first->{code}-0003"))));
	told($c, 'payout.approved, payout.expired');
	$stage->move_clock(0);
	more('the clock is set right again');
}

# What is owed to each store, and the comparison with what it says itself.
sub settle
{
	my $day = $stage->query("select (now() at time zone 'Asia/Jakarta')::date");
	for my $store ($first, $second)
	{
		my @ours = $stage->rows("select cvs_reference, txid, kind, amount from payout.cvs_settlement(:'c', :'d')", c => $store->{code}, d => $day);
		my $sum = 0;
		$sum += $_->[3] for @ours;
		more("$store->{code}  owed for $day: " . rupiah($sum), map { "    $_->[0]  $_->[1]  $_->[2] " . rupiah($_->[3]) } @ours);
	}
	my @good = map { { cvs_reference => $_->{cvs_reference}, amount => $_->{amount}, status => 'SUCCESS' } } @customers[ 0, 1 ];
	import_list($first, $day, 'its list names both', \@good, '');
	import_list($second, $day, 'its list names what it took back', [ { cvs_reference => "$second->{code}-0004", amount => $customers[1]{amount}, status => 'CANCEL' } ], '');
	import_list($first, $day, 'its list has another amount, lacks one, and names one that it never validated',
		[ { %{ $good[0] }, amount => 300000 }, { cvs_reference => "$first->{code}-0099", amount => 50000, status => 'SUCCESS' } ], 'differs extra missing');
	more('    nothing was moved by it: ' . join(', ', map { "$_->{reference} " . must(state_of($_) eq 'paid', 'paid', state_of($_)) } @customers[ 0, 1 ])
		. '; a person looks');
	import_list($first, $day, 'its list anew, corrected', \@good, '');
}

sub import_list
{
	my ($store, $day, $what, $list, $expected) = @_;
	my @findings = $stage->rows("select finding, cvs_reference, coalesce(our_state, '-'), our_amount, their_status, their_amount, detail
		from payout.import_cvs_settlement(:'c', :'d', :'rows') order by 1, 2", c => $store->{code}, d => $day, rows => JSON::PP->new->canonical->encode($list));
	my $found = join ' ', map { $_->[0] } @findings;
	more("$store->{code}  $what: " . must($found eq $expected, $found eq '' ? 'agrees' : 'does not agree', "FINDINGS $found, EXPECTED $expected"));
	more(map { my ($finding, $reference, $state, $ours, $status, $theirs, $detail) = @$_;
		sprintf '    %-8s %-14s ours: %s, theirs: %s; %s', $finding, $reference, $ours eq '' ? 'none' : "$state " . rupiah($ours),
			$theirs eq '' ? 'none' : "$status " . rupiah($theirs), $detail } @findings);
}

# A store's role may call three functions, for its own store; a merchant's role, none of them.
sub keep_out
{
	my ($c) = @_;
	my ($a, $b) = @stores;
	my @other_store = $stage->failure(ask_validate({ %$b, role => $a->{role} }, $c, "$b->{code}-0009"));
	my @balance = $stage->failure("select * from payout.balance(:'m')", %as_merchant, as => $a->{role});
	my @table = $stage->failure('select * from payout.cashout_token', as => $a->{role});
	my @merchant = $stage->failure(ask_validate({ %$a, role => $as_merchant{as} }, $c, "$a->{code}-0009"));
	my @other_merchant = $stage->failure("select payout.balance('OTHERSHOP1')", %as_merchant);
	more("role $a->{role} validates for $b->{code}: " . refused('PY013', $other_store[0]) . '; asks for the shop\'s balance: ' . refused('42501', $balance[0])
		. '; reads the table of tokens: ' . refused('42501', $table[0]));
	more("role $as_merchant{as} validates a token: " . refused('42501', $merchant[0]) . '; asks for another merchant\'s balance: ' . refused('PY013', $other_merchant[0]));
	my $text = $stage->dump_database . $stage->log_of('server');
	my @readable = grep { index($text, $_) >= 0 || index($text, grouped($_)) >= 0 } @tokens;
	agree(!@readable, scalar(@tokens) . ' tokens were issued; ' . @readable . ' can be read in a dump of the whole database or in the server\'s log');
}

# Digits tried at one till: after payout.token_tries the till is locked, whatever it presents; the next till is not.
sub guess
{
	my $allowed = $stage->query('show payout.token_tries');
	my $ask = sub { my ($terminal) = @_; return $stage->failure(ask_validate($second, { token => '11112222333344445553' }, "$second->{code}-0005", $terminal)); };
	my @states = map { ($ask->('TILL-9'))[0] } 1 .. $allowed;
	more("$second->{code}  wrong digits at TILL-9: " . join(' ', map { must($_ eq 'PY010', $_, "$_ (WRONG)") } @states)
		. '; once more: ' . refused('PY012', $ask->('TILL-9')));
	more("$second->{code}  at TILL-1 meanwhile: " . refused('PY010', ($ask->('TILL-1'))[0]) . ', so that one is not locked');
}

1;
