-- call_tokens.sql: validates 40 tokens one after the other, after 10 that warm the session up, and keeps how long each took.
do $$
declare
	p record;
	n integer := 0;
	began timestamptz;
begin
	for p in delete from public.probe where ctid = any (array(select ctid from public.probe limit 50)) returning * loop
		began := clock_timestamp();
		perform payout.cashout_validate('STORE1', p.token, 'TILL', 'C' || p.txid);
		n := n + 1;
		if n > 10 then
			insert into public.calls values (1e6 * extract(epoch from clock_timestamp() - began));
		end if;
	end loop;
end
$$;
