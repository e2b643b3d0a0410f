-- gate.sql: what stops requests that the worker has claimed and not sent yet, see gate.c. The changes of state of payouts stop
-- theirs in move.c.

create function payout.stop_requests() returns trigger
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_stop_requests';
comment on function payout.stop_requests() is
'trigger(scope, column): from the commit on, no request leaves that was claimed before and concerns this row: of the whole database, of a channel, to a merchant, or for a payout';

create trigger stop_requests after insert or update or delete on payout.arming for each row execute function payout.stop_requests('database', 'singleton');
create trigger stop_all_requests after truncate on payout.arming for each statement execute function payout.stop_requests('database', '');
create trigger stop_requests after insert or update or delete on payout.channel for each row execute function payout.stop_requests('channel', 'channel_id');
create trigger stop_requests after insert or update or delete on payout.channel_secret for each row execute function payout.stop_requests('channel', 'channel_id');
create trigger stop_all_requests after truncate on payout.channel_secret for each statement execute function payout.stop_requests('database', '');
create trigger stop_requests after update or delete on payout.merchant for each row execute function payout.stop_requests('merchant', 'merchant_id');
create trigger stop_requests after insert or update or delete on payout.merchant_secret for each row execute function payout.stop_requests('merchant', 'merchant_id');
create trigger stop_all_requests after truncate on payout.merchant_secret for each statement execute function payout.stop_requests('database', '');
create trigger stop_requests after insert or update on payout.hold for each row execute function payout.stop_requests('payout', 'txid');
alter table payout.arming enable always trigger stop_requests;
alter table payout.arming enable always trigger stop_all_requests;
alter table payout.channel enable always trigger stop_requests;
alter table payout.channel_secret enable always trigger stop_requests;
alter table payout.channel_secret enable always trigger stop_all_requests;
alter table payout.merchant enable always trigger stop_requests;
alter table payout.merchant_secret enable always trigger stop_requests;
alter table payout.merchant_secret enable always trigger stop_all_requests;
alter table payout.hold enable always trigger stop_requests;
