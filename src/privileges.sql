-- privileges.sql: the last fragment: PUBLIC may do nothing, and dumps keep everything that cannot be made again.
--
-- Who may call or read what is granted by payout.grant_access. Every object of the schema is made before this.

revoke all on schema payout from public;
revoke all on all tables in schema payout from public;
revoke all on all routines in schema payout from public;

-- There is no REVOKE for all types of a schema. Row types of tables and views are left alone: their use gives no access
-- to rows, and pg_dump warns of each one that an extension took from PUBLIC.
do $$
declare
	type_name text;
begin
	for type_name in
		select format('payout.%I', t.typname) from pg_catalog.pg_type t
		left join pg_catalog.pg_class c on c.oid = t.typrelid
		where t.typnamespace = 'payout'::regnamespace and t.typcategory <> 'A' and coalesce(c.relkind, 'c') = 'c'
	loop
		execute 'revoke all on type ' || type_name || ' from public';
	end loop;
end
$$;

-- Tables whose rows dumps must keep. pg_dump leaves the rows of an extension's tables out unless they are named here.
-- Without grants of roles that were dropped: their numbers may be another's in the server that the dump is restored to.
select pg_catalog.pg_extension_config_dump('payout.access_grant', 'where role_name in (select a.oid from pg_catalog.pg_roles a)');
select pg_catalog.pg_extension_config_dump('payout.merchant', '');
select pg_catalog.pg_extension_config_dump('payout.channel', '');
select pg_catalog.pg_extension_config_dump('payout.bank', '');
select pg_catalog.pg_extension_config_dump('payout.cvs', '');
select pg_catalog.pg_extension_config_dump('payout.balance', '');
select pg_catalog.pg_extension_config_dump('payout.balance_delta', '');
select pg_catalog.pg_extension_config_dump('payout.transfer', '');
select pg_catalog.pg_extension_config_dump('payout.payout', '');
select pg_catalog.pg_extension_config_dump('payout.payout_event', '');
select pg_catalog.pg_extension_config_dump('payout.chain_link', '');
select pg_catalog.pg_extension_config_dump('payout.admin_event', '');
select pg_catalog.pg_extension_config_dump('payout.admin_link', '');
select pg_catalog.pg_extension_config_dump('payout.payout_approval', '');
select pg_catalog.pg_extension_config_dump('payout.approver_day', '');
select pg_catalog.pg_extension_config_dump('payout.cashout_token', '');
select pg_catalog.pg_extension_config_dump('payout.redemption', '');
select pg_catalog.pg_extension_config_dump('payout.known_terminal', '');
select pg_catalog.pg_extension_config_dump('payout.cvs_settlement_row', '');
select pg_catalog.pg_extension_config_dump('payout.hold', '');
select pg_catalog.pg_extension_config_dump('payout.incarnation', '');
select pg_catalog.pg_extension_config_dump('payout.installation', '');
select pg_catalog.pg_extension_config_dump('payout.batch', '');
select pg_catalog.pg_extension_config_dump('payout.attempt', '');
select pg_catalog.pg_extension_config_dump('payout.under_way', '');
select pg_catalog.pg_extension_config_dump('payout.notification', '');
select pg_catalog.pg_extension_config_dump('payout.notice', '');

-- Stored secrets, sealed as they are, only where the session of pg_dump asks for them.
select pg_catalog.pg_extension_config_dump('payout.merchant_secret', 'where pg_catalog.current_setting(''payout.dump_secrets'', true) operator(pg_catalog.=) ''on''');
select pg_catalog.pg_extension_config_dump('payout.channel_secret', 'where pg_catalog.current_setting(''payout.dump_secrets'', true) operator(pg_catalog.=) ''on''');
select pg_catalog.pg_extension_config_dump('payout.cvs_secret', 'where pg_catalog.current_setting(''payout.dump_secrets'', true) operator(pg_catalog.=) ''on''');

-- The shipped policies come with the extension; an operator's are kept.
select pg_catalog.pg_extension_config_dump('payout.retry_policy', 'where source = ''operator''');

-- Not kept, because CREATE EXTENSION makes the same rows again, and a kept copy would collide with them: allowed_move,
-- option_definition, bank_code. Nobody adds to them but a version of the extension.
--
-- Not kept, because a copy never pays: arming. A restored database must be armed by a person. Nor known_installation, lost_tail and
-- unpaid_cash, which speak of this very server.
