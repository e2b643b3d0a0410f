# side.pl: one of the two builds that `make bench AGAINST=COMMIT` compares. It is started in the build's tree by against.pl and
# uses that tree's sandbox and SQL files, so that each build is measured with what its own functions expect.
#
# usage: side.pl FOLDER LINE...      reads LINE, answers "payouts/s seconds-of-CPU-for-each"; reads "books", answers "books"
use strict;
use warnings;
use BenchServer;
use LinesLedger;
use LinesQueue;

my %size = (seconds => 3, queue => 20_000, queue_s => 4);
my %ledger = map { $_ => 1 } qw(spread hot batch);
my %queue = map { $_ => 1 } qw(dispatch single single_50ms);

my ($folder, @lines) = @ARGV;
my @unknown = grep { !$ledger{$_} && !$queue{$_} } @lines;
die "bench: builds are compared by these lines alone: @{[ sort keys %ledger, keys %queue ]}\n" if @unknown;

# What the modules print goes beside the answers.
open my $answers, '>&', \*STDOUT or die "stdout: $!\n";
open STDOUT, '>&', \*STDERR or die "stderr: $!\n";
$answers->autoflush;
$SIG{INT} = $SIG{TERM} = sub { exit 130 };	# so that END ends what was started

my ($server, $bank);
$server = LinesLedger->prepare("$folder/ledger") if grep { $ledger{$_} } @lines;
$bank = LinesQueue->prepare("$folder/queue") if grep { $queue{$_} } @lines;
print $answers "ready\n";
while (my $line = <STDIN>)
{
	chomp $line;
	if ($line eq 'books')
	{
		LinesLedger::check_books($server, 'app') if $server;
		$bank->check_books if $bank;
		print $answers "books\n";
	}
	else
	{
		my @figures = $ledger{$line} ? LinesLedger->round($server, $line, $size{seconds}) : LinesQueue->round($line, \%size);
		print $answers "@figures\n";
	}
}

END
{
	my $status = $?;
	BenchServer->stop_all;
	$? = $status;
}
