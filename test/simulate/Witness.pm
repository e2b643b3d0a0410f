# Witness.pm: compares three books after a campaign: the extension's, the sandbox bank's journal, and what the clients
# were told. It believes none of them; each difference is counted and named. campaign.pl enters.
package Witness;

use strict;
use warnings;
use JSON::PP ();

my $json = JSON::PP->new->utf8;

# server: a code reference that answers rows of a query; journal: the bank's file; logs: the clients' files; stops and tails:
# the saboteur's, see there.
sub new
{
	my ($class, %given) = @_;
	my $self = bless { %given, counters => { map { $_ => 0 } qw(paid_twice lost overdrawn unbalanced told_wrong stuck) }, named => [] }, $class;
	return $self;
}

sub count
{
	my ($self, $counter, $text) = @_;
	$self->{counters}{$counter}++;
	push @{ $self->{named} }, "$counter: $text" if $self->{counters}{$counter} <= 20;
}

sub lines
{
	my ($path, $wanted) = @_;
	my @found;
	open my $file, '<', $path or die "$path: $!\n";
	while (my $line = <$file>)
	{
		next if $line !~ /$wanted/;
		# A client that was killed may leave half a line: it was told nothing that it wrote.
		my $row = eval { $json->decode($line) } or next;
		push @found, $row;
	}
	close $file;
	return @found;
}

# Orders that left before a stop may be read a little later.
my $stop_slack_ms = 300;

sub within
{
	my ($ms, $from, $to) = @_;
	return defined $ms && $ms >= $from && $ms <= $to;
}

# Whether something happened in the last seconds of a primary that its standby never got.
sub in_lost_tail
{
	my ($self, $ms) = @_;
	return grep { within($ms, @$_) } @{ $self->{tails} || [] };
}

# The extension's book, by TXID and by the clients' keys.
sub read_server
{
	my ($self) = @_;
	for my $row ($self->{server}->("select merchant_id, txid, kind, state, amount, reference_no from payout.payout"))
	{
		my ($merchant, $txid, $kind, $state, $amount, $reference) = @$row;
		$self->{payout}{$txid} = { merchant => $merchant, txid => $txid, kind => $kind, state => $state, amount => $amount + 0 };
		$self->{reference}{"$merchant $reference"} = $self->{payout}{$txid};
	}
	$self->{was}{ $_->[0] }{ $_->[1] } = 1 for $self->{server}->("select distinct txid, to_state from payout.payout_event");
	$self->{funds}{"$_->[0] $_->[1] $_->[2]"} = $_->[3] + 0
		for $self->{server}->("select kind, merchant_id, reference_no, amount from payout.transfer where reference_no is not null");
	$self->{redemption}{"$_->[0] $_->[1]"} = { txid => $_->[2], confirm => $_->[3], reverse => $_->[4] }
		for $self->{server}->("select cvs_code, cvs_reference, coalesce(txid, ''), coalesce(confirm_state, ''), coalesce(reverse_state, '') from payout.redemption");
	$self->{external}{ $_->[0] } = 1 for $self->{server}->('select external_id from payout.attempt');
}

# What the bank did, against what we say it did.
sub compare_bank
{
	my ($self) = @_;
	my (%times, %amount, %in_tail);
	my @requests = lines($self->{journal}, qr/"event":"external_id"/);
	my %arrived = map { $_->{external_id} => $_->{arrived_ms} } @requests;
	for my $row (lines($self->{journal}, qr/"event":"paid"/))
	{
		$times{ $row->{partner_reference_no} }++;
		$amount{ $row->{partner_reference_no} } = $row->{amount} + 0;
		$in_tail{ $row->{partner_reference_no} }++ if $self->in_lost_tail($arrived{ $row->{external_id} });
	}
	for my $txid (sort keys %times)
	{
		my $p = $self->{payout}{$txid};
		$self->count('paid_twice', "the bank paid $txid $times{$txid} times") if $times{$txid} > 1;
		# Sent in a lost tail, and our book never came to sending it.
		next if ($in_tail{$txid} || 0) == $times{$txid} && (!$p || $p->{state} =~ /^(registered|scheduled|rejected|cancelled)$/) && !$self->{was}{$txid}{dispatching};
		if (!$p) { $self->count('lost', "the bank paid $txid, which is not in our book") }
		elsif ($p->{state} !~ /^(paid|returned|disputed)$/) { $self->count('lost', "the bank paid $txid, our book says $p->{state}") }
		elsif ($self->{was}{$txid}{failed}) { $self->count('lost', "the bank paid $txid, whose money was given back before: it is $p->{state}") }
		elsif ($p->{amount} != $amount{$txid}) { $self->count('lost', "the bank paid $amount{$txid} for $txid, our book says $p->{amount}") }
	}
	for my $p (grep { $_->{kind} eq 'disbursement' && $_->{state} eq 'paid' } values %{ $self->{payout} })
	{
		$self->count('lost', "our book says that $p->{txid} is paid, the bank did not pay it") if !$times{ $p->{txid} };
	}
	# Save before send: whatever reached the bank has its attempt in our book.
	for my $row (@requests)
	{
		next if $self->in_lost_tail($row->{arrived_ms});
		$self->count('lost', "the bank was sent request $row->{external_id}, of which our book knows nothing") if !$self->{external}{ $row->{external_id} };
	}
	$self->{paid} = grep { $_->{state} eq 'paid' } values %{ $self->{payout} };
}

# While an operator had stopped it, nothing was ordered.
sub compare_stops
{
	my ($self) = @_;
	for my $row (lines($self->{journal}, qr/"event":"arrived"/))
	{
		my $at = $row->{arrived_ms};
		my ($stop) = grep { within($at, $_->[0] + $stop_slack_ms, $_->[1]) } @{ $self->{stops} || [] } or next;
		$self->count('told_wrong', sprintf 'sending was stopped, an order (%d, %s) came %d ms later', $row->{service}, $row->{external_id}, $at - $stop->[0]);
	}
}

# Every answer that a client was given must be true for ever.
my %check = (
	register => \&told_registered, register_cashout => \&told_registered,
	approve => \&told_state, cancel => \&told_state, reject => \&told_state, inquiry => \&told_state, inquiry_reference => \&told_state,
	check_status => \&told_state, reissue_token => \&told_state,
	top_up => \&told_funds, withdraw => \&told_funds,
	validate => \&told_redemption, confirm => \&told_redemption, reverse => \&told_redemption);

sub compare_clients
{
	my ($self) = @_;
	for my $path (@{ $self->{logs} })
	{
		for my $told (lines($path, qr/"result":\s*"ok"/))
		{
			my $check = $check{ $told->{op} } or next;
			next if $self->in_lost_tail($told->{t});
			$check->($self, $told);
		}
	}
	for my $txid (keys %{ $self->{cash} || {} })
	{
		my $tills = keys %{ $self->{cash}{$txid} };
		$self->count('paid_twice', "$tills stores were told that $txid is paid") if $tills > 1;
	}
}

sub told_registered
{
	my ($self, $told) = @_;
	my $p = $self->{reference}{"$told->{merchant} $told->{reference}"};
	if (!$p) { $self->count('lost', "$told->{op} of $told->{merchant} $told->{reference}") }
	elsif ($p->{txid} ne $told->{txid} || $p->{amount} != $told->{amount}) { $self->count('told_wrong', "$told->{reference} is $told->{txid} over $told->{amount}, it is $p->{txid} over $p->{amount}") }
}

sub told_state
{
	my ($self, $told) = @_;
	return if !defined $told->{txid} || !defined $told->{state};
	if (!$self->{payout}{ $told->{txid} }) { $self->count('lost', "$told->{op} of $told->{txid}") }
	elsif (!$self->{was}{ $told->{txid} }{ $told->{state} }) { $self->count('lost', "$told->{op} said that $told->{txid} is $told->{state}, which it never was") }
}

sub told_funds
{
	my ($self, $told) = @_;
	my $amount = $self->{funds}{"$told->{op} $told->{merchant} $told->{reference}"};
	if (!defined $amount) { $self->count('lost', "$told->{op} $told->{merchant} $told->{reference}") }
	elsif ($amount != $told->{amount}) { $self->count('told_wrong', "$told->{op} $told->{reference} over $told->{amount}, it is $amount") }
}

sub told_redemption
{
	my ($self, $told) = @_;
	my $r = $self->{redemption}{"$told->{cvs} $told->{cvs_reference}"};
	if (!$r) { $self->count('lost', "$told->{op} at $told->{cvs}, $told->{cvs_reference}"); return }
	# A reversal that comes before its validation is remembered without a payout.
	my $is_early = $told->{op} eq 'reverse' && $r->{txid} eq '';
	if (defined $told->{txid} && !$is_early && $r->{txid} ne $told->{txid}) { $self->count('told_wrong', "$told->{cvs_reference} is of $told->{txid}, it is of $r->{txid}"); return }
	return if $told->{op} eq 'validate';
	$self->count('told_wrong', "$told->{op} $told->{cvs_reference} was answered $told->{state}, the book says $r->{$told->{op}}") if $r->{ $told->{op} } ne $told->{state};
	$self->{cash}{ $r->{txid} }{"$told->{cvs} $told->{cvs_reference}"} = 1 if $told->{op} eq 'confirm' && $told->{state} eq 'paid';
}

sub compare_ledger
{
	my ($self) = @_;
	for my $row ($self->{server}->("select check_name, coalesce(txid, merchant_id, '-'), detail from payout.verify()"))
	{
		$self->count($row->[0] eq 'balance_not_negative' ? 'overdrawn' : 'unbalanced', join ' ', @$row);
	}
	for my $row ($self->{server}->("select merchant_id, c.available from payout.balance, payout.current_balance(merchant_id) c where c.available < 0"))
	{
		$self->count('overdrawn', join ' ', @$row);
	}
}

# After the drain everything is at its end, or a person is visibly asked for it.
sub find_stuck
{
	my ($self) = @_;
	$self->count('stuck', join ' ', @$_) for $self->{server}->(<<'END');
		select p.txid, p.kind, p.state, coalesce(p.reason, '-') from payout.payout p
		where p.final_at is null and p.state not in ('registered', 'disputed') and not (p.kind = 'cashout' and p.state = 'suspect')
		and not exists (select from payout.hold h where h.merchant_id = p.merchant_id and h.txid = p.txid)
END
	$self->count('stuck', join ' ', 'notification of', @$_) for $self->{server}->(<<'END');
		select txid, event_no, event from payout.notification where delivered_at is null and given_up_at is null
END
	$self->count('stuck', join ' ', 'attempt', @$_) for $self->{server}->('select lane, external_id from payout.attempt where outcome is null');
}

sub compare
{
	my ($self) = @_;
	$self->read_server;
	$self->compare_bank;
	$self->compare_stops;
	$self->compare_clients;
	$self->compare_ledger;
	$self->find_stuck;
	return $self->{counters};
}

1;
