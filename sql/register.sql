-- register.sql: registration: steps 1 to 5. Once per reference number; data only, nothing is deducted.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
select test.set_up('REGISTER01', 'REGCH', 'REGBANK', 500);
select test.set_up('REGISTER02', 'REGCH', 'REGBANK', 0);
select merchant_id, kind, state, reference_no, method, amount, fee, currency, channel_id, bank_code, account_no, beneficiary_name, beneficiary_phone,
	description, options, scheduled_at, account_check, check_due_at is not null as will_be_asked, events, txid ~ '^REGISTER0107[0-9]{14}[0-9A-Z]{4}$' as has_form
from payout.register('REGISTER01', 'R1', 12500.5, 'REGBANK', '8811111111', 'Budi Santoso', beneficiary_phone => '+62 812-3456', description => 'gaji');
-- the same content again is the same payout, whatever the number's scale; each other content is refused
select txid = test.txid('R1') as same, state
from payout.register('REGISTER01', 'R1', 12500.50, 'REGBANK', '8811111111', 'Budi Santoso', beneficiary_phone => '+62 812-3456', description => 'gaji');
select payout.register('REGISTER01', 'R1', 12500.51, 'REGBANK', '8811111111', 'Budi Santoso', beneficiary_phone => '+62 812-3456', description => 'gaji');
select payout.register('REGISTER01', 'R1', 12500.50, 'REGBANK', '8811111112', 'Budi Santoso', beneficiary_phone => '+62 812-3456', description => 'gaji');
select payout.register('REGISTER01', 'R1', 12500.50, 'REGBANK', '8811111111', 'Budi Santosa', beneficiary_phone => '+62 812-3456', description => 'gaji');
select payout.register('REGISTER01', 'R1', 12500.50, 'REGBANK', '8811111111', 'Budi Santoso', beneficiary_phone => '+62 812-3456');
select payout.register('REGISTER01', 'R1', 12500.50, 'REGBANK', '8811111111', 'Budi Santoso', description => 'gaji');
select payout.register('REGISTER01', 'R1', 12500.50, 'REGBANK', '8811111111', 'Budi Santoso', beneficiary_phone => '+62 812-3456', description => 'gaji', scheduled_at => now() + interval '1 day');
-- reference numbers are each merchant's own
select state, merchant_id from payout.register('REGISTER02', 'R1', 1, 'REGBANK', '8811111111', 'Budi Santoso');
select count(*), count(distinct txid) from payout.payout where reference_no = 'R1';
-- no money is needed, none is moved, one history row
select available, in_transit from payout.balance('REGISTER01');
select count(*) from payout.transfer where merchant_id = 'REGISTER02';
select event_no, event, from_state, to_state, role_name = current_user as by_me from payout.payout_event where merchant_id = 'REGISTER02';

-- who and where
select payout.register('NOMERCHANT', 'R2', 1, 'REGBANK', '8811111111', 'Budi');
select payout.register('REGISTER01', 'R2', 1, 'NOBANK', '8811111111', 'Budi');
select payout.register('REGISTER01', 'R2', 1, 'REGBANK', '8811111111', 'Budi', 'overbooking');
select payout.register('REGISTER01', 'R2', 1, 'REGBANK', '8811111111', 'Budi', 'skn');
select payout.register('REGISTER01', 'R2', 1, 'REGBANK', '8811111111', 'Budi', 'cashout');
select enabled from payout.alter_bank('REGBANK', '{"enabled": false}');
select payout.register('REGISTER01', 'R2', 1, 'REGBANK', '8811111111', 'Budi');
select enabled, options from payout.alter_bank('REGBANK', '{"enabled": true, "internal": true}');
select method from payout.register('REGISTER01', 'R2', 1, 'REGBANK', '8811111111', 'Budi', 'overbooking');
select active from payout.alter_merchant('REGISTER01', '{"active": false}');
select payout.register('REGISTER01', 'R3', 1, 'REGBANK', '8811111111', 'Budi');
-- a repeat is answered even then
select method from payout.register('REGISTER01', 'R2', 1, 'REGBANK', '8811111111', 'Budi', 'overbooking');

-- inquiry, by both names; another merchant's payout is as unknown as any
select state, reference_no from payout.inquiry('REGISTER01', test.txid('R2'));
select state, txid = test.txid('R2') as same from payout.inquiry_reference('REGISTER01', 'R2');
select payout.inquiry('REGISTER02', test.txid('R2'));
select payout.inquiry_reference('REGISTER02', 'R2');
select payout.inquiry('NOMERCHANT', 'x');

-- the content does not change, and a payout is not deleted
update payout.payout set amount = 2 where reference_no = 'R2';
update payout.payout set account_no = '1' where reference_no = 'R2';
update payout.payout set merchant_id = 'REGISTER02' where reference_no = 'R2';
delete from payout.payout where reference_no = 'R2';
truncate payout.payout;
select check_name, detail from payout.verify();
