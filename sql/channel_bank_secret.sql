-- channel_bank_secret.sql: channels, banks and stores; a channel that has secrets cannot be deleted either. Secrets themselves: secret.sql.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
select channel_id, protocol, base_url, options from payout.create_channel('SETUPCH', 'snap', 'https://bank.example/api/', '{"mode": "single"}');
select base_url from payout.create_channel('SETUPCH', 'snap', 'https://bank.example/api', '{"mode": "single"}');
select payout.create_channel('SETUPCH', 'snap', 'https://other.example', '{"mode": "single"}');
select payout.create_channel('OTHERCH', 'soap', 'https://bank.example');
select payout.create_channel('OTHERCH', 'snap', 'https://user:password@bank.example');
select options, base_url from payout.alter_channel('SETUPCH', '{"mode": null, "batch_size_max": 50, "base_url": "https://new.example/"}');
select payout.alter_channel('SETUPCH', '{"batch_size_max": 10001}');
select payout.alter_channel('SETUPCH', '{"batch_size_max": 1.5}');
select payout.alter_channel('SETUPCH', '{"batch_size_max": "50"}');
select payout.alter_channel('SETUPCH', '{"base_url": "javascript:alert(1)"}');
select payout.alter_channel('NOCHANNEL', '{}');

-- paused and resumed
select paused_at is not null as paused, paused_reason from payout.pause_channel('SETUPCH', 'maintenance');
select payout.may_dispatch('SETUPCH');
select paused_at is not null as paused, paused_reason, not_before from payout.resume_channel('SETUPCH');
select payout.may_dispatch('SETUPCH');

-- banks
select bank_code, name, channel_id, options, enabled from payout.create_bank('SETUPB', 'Bank of the setup', 'SETUPCH', '{"wire_code": "999"}');
select bank_code from payout.create_bank('SETUPB', 'Bank of the setup', 'SETUPCH', '{"wire_code": "999"}');
select payout.create_bank('SETUPB', 'Another bank', 'SETUPCH');
select payout.create_bank('SETUPC', 'Another bank', 'NOCHANNEL');
select name, options, enabled from payout.alter_bank('SETUPB', '{"wire_code": null, "enabled": false, "internal": true}');
select payout.alter_bank('SETUPB', '{"channel_id": "NOCHANNEL"}');
select payout.alter_bank('NOBANK', '{}');
select payout.load_banks('SETUPCH') > 100 as loaded, payout.load_banks('SETUPCH') as again;
select count(*) from payout.bank b where not exists (select from payout.bank_code k where k.bank_code = b.bank_code and k.is_bank) and b.channel_id = 'SETUPCH';

-- stores
select cvs_code, name, options, active from payout.create_cvs('SETUPCVS', 'Store of the setup', '{"amount_multiple": 50000, "opening_hours": "07:00-22:00"}');
select cvs_code from payout.create_cvs('SETUPCVS', 'Store of the setup', '{"amount_multiple": 50000, "opening_hours": "07:00-22:00"}');
select payout.create_cvs('SETUPCVS', 'Store of the setup');
select payout.create_cvs('SETUPCVS', 'Another store', '{"amount_multiple": 50000, "opening_hours": "07:00-22:00"}');
select payout.create_cvs('SETUPCVT', 'Another store', '{"opening_hours": "7-22"}');
select payout.create_cvs('SETUPCVT', 'Another store', '{"opening_hours": "07:00-07:00"}');
select payout.create_cvs('SETUPCVT', 'Another store', '{"opening_hours": "24:00-07:00"}');
select payout.create_cvs('SETUPCVT', 'Another store', '{"token_tries": 0}');
select name, options, active from payout.alter_cvs('SETUPCVS', '{"amount_multiple": null, "amount_max": 2000000, "name": "Renamed", "active": false}');
select name, options, active from payout.alter_cvs('SETUPCVS', '{"active": true}');
select payout.alter_cvs('SETUPCVS', '{"active": "false"}');
select payout.alter_cvs('SETUPCVS', '{"active": null}');
select payout.alter_cvs('SETUPCVS', '{"name": ""}');
select payout.alter_cvs('SETUPCVS', '{"amount_multiple": 0}');
select payout.alter_cvs('NOSTORE', '{}');

select payout.set_secret('channel:SETUPCH', 'client_secret', 'x'), payout.set_secret('cvs:SETUPCVS', 'client_secret', 'x');
delete from payout.channel where channel_id = 'SETUPCH';
delete from payout.bank where bank_code = 'SETUPB';
truncate payout.bank;
delete from payout.cvs where cvs_code = 'SETUPCVS';
truncate payout.cvs cascade;
select check_name, detail from payout.verify();
