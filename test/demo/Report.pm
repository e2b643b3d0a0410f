# Report.pm: how the demo speaks: steps, facts beneath them, sums of money; and the count of facts that did not hold,
# which decides the demo's exit status. It asks nothing and starts nothing. The demo's flows and demo.pl enter.
package Report;

use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw(heading line more rupiah grouped must refused agree wrong_answers);

my $wrong_answers = 0;

sub wrong_answers { return $wrong_answers; }

sub heading { print "\n$_[0]\n"; }

sub line { my ($step, $text) = @_; printf "%-11s %s\n", $step, $text; }

sub more { line('', $_ =~ s/ +$//r) for @_; }

sub rupiah
{
	my $text = sprintf '%.2f', shift;
	1 while $text =~ s/^(-?\d+)(\d{3})/$1,$2/;
	return $text;
}

# A token as it is shown to people: in groups of four.
sub grouped { return shift =~ s/(\d{4})(?=\d)/$1 /gr; }

# A fact that must hold, without a line of its own. Answers the first text when it does, else the second.
sub must
{
	my ($holds, $text, $otherwise) = @_;
	$wrong_answers++ unless $holds;
	return $holds ? $text // '' : $otherwise // 'THIS IS WRONG';
}

# A refusal that must come: the SQLSTATE that is due, then what Theatre's failure() answered.
sub refused
{
	my ($expected, $state, $message) = @_;
	my $why = defined $message ? ", $message" : '';
	return must(($state // '') eq $expected, "refused, $expected$why", defined $state ? "REFUSED WITH $state$why" : 'NOT REFUSED');
}

# A fact that must hold, on a line of its own.
sub agree
{
	my ($holds, $text) = @_;
	more(must($holds, 'agrees: ', 'DISAGREES: ') . $text);
}

1;
