-- time_zone.sql: a span has the same number of seconds in every session: tokens, reservations, schedules and the options of days, in
-- time zones whose clocks change within the span, forward and back.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
\set cashout :tree /sql/include/cashout.inc
\i :cashout
select test.set_up('TIMEZONE01', 'TZCH', 'TZBANK'), test.open_store('TZSTORE');
-- Zones made for today: their clocks change twelve hours from now, and back when half a year has gone.
create function test.zone(p_hours integer) returns text language sql as $$
select format('AAA0BBB%s,%s/%s,%s/0', -p_hours, extract(doy from at) - 1, to_char(at, 'HH24:MI'), (extract(doy from at)::integer + 180) % 364)
from (select (clock_timestamp() + interval '12 hours') at time zone 'UTC' as at) t
$$;
-- How long a day is there, and every span that the extension adds to a moment.
create function test.spans(p_zone text) returns table (day numeric, token numeric, reissued numeric, reservation numeric, status_window numeric, lead_ok text, year_ok text)
language plpgsql as $$
declare
	reference text := 'TZ' || md5(p_zone);
	at timestamptz := clock_timestamp();
	issued timestamptz;
	p payout.payout;
begin
	perform set_config('timezone', p_zone, true);
	day := extract(epoch from at + interval '1 day' - at);
	perform test.issue('TIMEZONE01', reference, 1000);
	p := test.payout(reference);
	token := round(extract(epoch from p.expire_due_at - p.approved_at));
	issued := clock_timestamp();
	perform test.reissue(reference);
	p := test.payout(reference);
	reissued := round(extract(epoch from p.expire_due_at - issued));
	select round(extract(epoch from r.reserved_until - clock_timestamp())) into reservation from payout.cashout_validate('TZSTORE', test.token(reference), 'T1', reference) r;
	status_window := extract(epoch from at + payout.channel_interval('TZCH', 'status_window_days') - at);
	lead_ok := format('%s %s', payout.is_schedule(at + interval '3599 s', at), payout.is_schedule(at + interval '3600 s', at));
	year_ok := format('%s %s', payout.is_schedule(at + 31622400 * interval '1 s', at), payout.is_schedule(at + 31622401 * interval '1 s', at));
	return next;
end
$$;
select name, s.* from (values ('UTC', 'UTC'), ('Jakarta', 'Asia/Jakarta'), ('New York', 'America/New_York'), ('Lord Howe', 'Australia/Lord_Howe'), ('an hour forward', test.zone(1)), ('an hour back', test.zone(-1)),
	('two hours back', test.zone(-2))) z (name, zone), lateral (select case when z.zone like 'AAA%' then x.day else 86400 end as day, x.token, x.reissued, x.reservation, x.status_window, x.lead_ok, x.year_ok from test.spans(z.zone) x) s;
-- the days of Jakarta begin and end with Jakarta's, whoever asks
create function test.days(p_zone text) returns text language plpgsql as $$
begin
	perform set_config('timezone', p_zone, true), set_config('datestyle', 'SQL, DMY', true), set_config('intervalstyle', 'sql_standard', true);
	return format('%s %s', extract(epoch from payout.day_begin('day', date '2026-03-29')), payout.jakarta_day(to_timestamp(1774717200)));
end
$$;
select count(distinct test.days(z)) as one_answer from unnest(array['UTC', 'Europe/Berlin', 'America/New_York', 'Pacific/Apia', test.zone(1), test.zone(-1)]) z;
select check_name, detail from payout.verify() where merchant_id = 'TIMEZONE01';
