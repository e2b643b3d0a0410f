# Operator.pm: the person of the campaign. Where a payout waits for one because the bank says that it knows nothing of it, the
# bank's own books are opened (not its inquiry, which may lie) and the payout is decided by what stands there. campaign.pl enters.
package Operator;

use strict;
use warnings;
use PayoutTest;

sub new
{
	my ($class, %given) = @_;
	return bless { decided => 0, %given }, $class;
}

# What stands in the bank's books under each reference; of several bookings the paid one counts.
sub books
{
	my ($self) = @_;
	my $books = $self->{test}->control('GET', 'books');
	my %found;
	for my $state (qw(failed accepted refunded paid))
	{
		$found{ $_->{partner_reference_no} } = $state for @{ $books->{$state} };
	}
	return \%found;
}

# The decision: an order that the bank has not booked goes out again; one that it is still booking is left alone.
my %decision = (none => 'dispatch', failed => 'failed', paid => 'paid');

# Decides what waits. How many still do: nothing of them may be under way, so that the books cannot change meanwhile.
sub decide
{
	my ($self) = @_;
	my @held = $self->{rows}->(<<'END');
		select distinct h.merchant_id, h.txid from payout.hold h join payout.payout p on (p.merchant_id, p.txid) = (h.merchant_id, h.txid)
		where p.kind = 'disbursement' and p.state in ('dispatching', 'processing', 'suspect')
		and not exists (select from payout.attempt a where a.outcome is null and (a.txid = p.txid or a.batch_id = p.batch_id))
END
	return 0 if !@held;
	my $books = $self->books;
	for my $row (@held)
	{
		my ($merchant, $txid) = @$row;
		my $decision = $decision{ $books->{$txid} || 'none' } or next;
		my ($status) = $self->{test}->try_sql("select payout.resolve('$merchant', '$txid', '$decision', 'the bank''s books were asked')");
		$self->{decided}++ if $status == 0;
	}
	return scalar @held;
}

1;
