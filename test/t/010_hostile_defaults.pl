# 010_hostile_defaults.pl: whatever the database's defaults are, the worker's transactions are durable, can write and are
# not cut short.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

my $t = PayoutTest->new;
$t->sql("alter database app set synchronous_commit = off; alter database app set default_transaction_read_only = on;
	alter database app set default_transaction_isolation = 'serializable'; alter database app set statement_timeout = '1ms';
	alter database app set search_path = public; alter database app set row_security = off");
# The worker reads them when it starts.
my $pid = $t->{node}->safe_psql('postgres', "select pid from pg_stat_activity where backend_type = 'payout worker'");
$t->{node}->safe_psql('postgres', "select pg_terminate_backend($pid)");
$ENV{PGOPTIONS} = "-c default_transaction_read_only=off -c statement_timeout=0 -c default_transaction_isolation=read\\ committed -c synchronous_commit=on";
$t->wait_sql('select count(*) = 2 from payout.incarnation');
my $txid = $t->pay;
$t->wait_state($txid, 'paid');
$t->sound('at the end');
done_testing();
