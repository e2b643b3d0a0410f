# payout: build, installation and the project's commands.
#
# The lists below are explicit: what ships, and in which order, can be read here.
# `make`, `make install` and `make installcheck` follow PGXS; every other target works on a fresh
# Debian machine as well, since test/tools/ installs first what is missing.

all:

EXTENSION = payout
MODULE_big = payout

# src/NAME.c, one a line
C_FILES = \
	payout \
	settings \
	crash_point \
	argument \
	visible \
	option \
	clock \
	identifier \
	txid \
	utf8 \
	sha256 \
	token \
	token_form \
	token_tries \
	peek \
	grants \
	caller \
	entry \
	estimate \
	escrow \
	row \
	row_target \
	row_plain \
	row_set \
	row_cache \
	payout_row \
	content \
	ending \
	chain \
	admin \
	history \
	policy \
	ledger \
	hand \
	owe \
	move \
	move_set \
	register \
	approve \
	batch \
	batch_item \
	register_batch \
	approve_batch \
	secret_file \
	secret_lock \
	secret \
	arming \
	store \
	look_up \
	redemption \
	redeem \
	cashout \
	wakeup \
	json_depth \
	json_read \
	inbound \
	check_status \
	launcher \
	worker \
	worker_session \
	lost_tail \
	turn \
	claim \
	reserve \
	gate \
	gate_state \
	gate_stop \
	record \
	expire \
	fold \
	link \
	lane \
	columns \
	place \
	book \
	plan \
	validate \
	dispatch \
	check \
	notify \
	exchange \
	channel \
	breaker \
	protocol \
	snap \
	snap_sign \
	snap_subject \
	subject \
	books \
	snap_words \
	snap_code \
	outcome \
	backoff \
	event_loop \
	http \
	http_transfer \
	http_framing \
	http_credential \
	http_socket \
	http_guard \
	http_address

# src/NAME.sql, one a line, in the order in which they stand in the install script
SQL_FILES = \
	schema \
	bank_codes \
	merchant \
	ledger \
	channel \
	cvs \
	secret \
	payout \
	move_set \
	place \
	attempt \
	lost_tail \
	register \
	register_cashout \
	validate \
	approve \
	maker_checker \
	batch \
	token \
	cashout \
	expire \
	sending \
	subject \
	books \
	dispatch \
	check \
	settlement \
	resolve \
	notify \
	gate \
	inbound \
	admin \
	evidence \
	work \
	chain \
	verify_admin \
	verify_evidence \
	verify \
	access \
	health \
	views \
	privileges

EXTENSION_VERSION = 1.0
EXTENSION_SQL = payout--$(EXTENSION_VERSION).sql

OBJS = $(C_FILES:%=src/%.o)
DATA_built = $(EXTENSION_SQL)

# Against a running server that has the library preloaded (see test/payout.conf).
REGRESS = $(sort $(patsubst sql/%.sql,%,$(wildcard sql/*.sql)))
REGRESS_OPTS = --inputdir=. --load-extension=payout
ISOLATION = $(sort $(patsubst test/specs/%.spec,%,$(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --load-extension=payout

EXTRA_CLEAN = $(OBJS:.o=.d) $(OBJS:.o=.gcda) $(OBJS:.o=.gcno)

# ---------------------------------------------------------------------------
# How it is compiled

# An existing environment variable or `make PG_CONFIG=...` chooses another server.
PG_CONFIG ?= $(firstword $(wildcard /usr/lib/postgresql/15/bin/pg_config) pg_config)
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)

# PostgreSQL's own headers count as system headers, so that -Wextra speaks of our code alone.
PG_CPPFLAGS = -Isrc -isystem $(shell $(PG_CONFIG) --includedir-server) $(CURL_CFLAGS)

# Unused parameters are the rule here: a function of SQL without arguments, hooks, callbacks.
# -MMD writes down which headers an object was made from.
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -MMD -MP
ifdef WERROR
PG_CFLAGS += -Werror
endif

# Places to die at and faults to commit, for the tests of crashes; see src/crash_point.c. Never for real money.
ifdef DEVELOPER
PG_CPPFLAGS += -DPAYOUT_DEVELOPER
endif

CURL_CFLAGS := $(shell pkg-config --cflags libcurl libcrypto 2>/dev/null || curl-config --cflags 2>/dev/null)
CURL_LIBS := $(shell pkg-config --libs libcurl libcrypto 2>/dev/null)
ifeq ($(CURL_LIBS),)
CURL_LIBS := $(shell curl-config --libs 2>/dev/null || echo -lcurl) -lcrypto
endif

# The server loads all libraries into one name space; ours must call its own functions even
# where another library has one of the same name.
SHLIB_LINK = $(CURL_LIBS) -Wl,-Bsymbolic

ifneq ($(wildcard $(PGXS)),)

# Bitcode is for inlining into queries, of which these functions gain nothing.
override with_llvm = no

include $(PGXS)

-include $(OBJS:.o=.d)

else

all install uninstall installcheck:
	@echo "PostgreSQL's build files are missing: run test/tools/packages.sh, or say PG_CONFIG=..." >&2
	@exit 1

endif

# The install script: the fragments in their order, after the line that keeps psql from running it.
$(EXTENSION_SQL): $(SQL_FILES:%=src/%.sql) Makefile
	@printf '%s\n' '\echo Use "CREATE EXTENSION payout" to load this file. \quit' > $@.tmp
	@for name in $(SQL_FILES); do \
		printf '\n-- src/%s.sql\n\n' $$name && cat src/$$name.sql || exit 1; \
	done >> $@.tmp
	@mv $@.tmp $@

# ---------------------------------------------------------------------------
# Commands. Each works in a private copy of the tree and drops root by itself; see
# test/tools/enter.sh. PART=regress|isolation|tap|unit|sandbox|fuzz|lists and TESTS="..." narrow
# `make test`; BUILD_DIR=... keeps the copy, and builds faster the next time.

ENTER = bash test/tools/enter.sh

demo:
	@$(ENTER) test/demo/demo.sh

test:
	@$(ENTER) --packages fuzz test/tools/test.sh

# LONG=1 tells the tests to go through all cases instead of a selection.
test-long:
	@LONG=1 $(ENTER) --packages fuzz test/tools/test.sh
	@LONG=1 $(ENTER) --packages sanitize test/tools/sanitize.sh

sanitize:
	@$(ENTER) --packages sanitize test/tools/sanitize.sh

# SECONDS=60 SEED=1: how long, and which of the campaigns. CAMPAIGN="--async --forgetful": see test/simulate/README.md.
crashtest:
	@SECONDS_TO_RUN=$(SECONDS) SEED=$(SEED) $(ENTER) test/simulate/crashtest.sh

# FAULT="gate_not_asked ...": some of them.
crashtest-selfcheck:
	@SECONDS_TO_RUN=$(SECONDS) SEED=$(SEED) $(ENTER) test/simulate/crashtest.sh --selfcheck $(FAULT)

# SECONDS=60 for each target; TARGET="answer url code token sign items notice text sqlsmith": some of them.
fuzz:
	@SECONDS_TO_RUN=$(SECONDS) TARGET="$(TARGET)" $(ENTER) --packages fuzz test/fuzz/fuzz.sh

sqlsmith:
	@SECONDS_TO_RUN=$(SECONDS) TARGET=sqlsmith $(ENTER) --packages fuzz test/fuzz/fuzz.sh

bench:
	@$(ENTER) test/bench/bench.sh

coverage:
	@$(ENTER) test/tools/coverage.sh

# These three work in the tree itself.
unit:
	@bash test/tools/packages.sh
	@$(MAKE) -C test/unit check

format:
	@bash test/tools/format.sh

check-format:
	@bash test/tools/format.sh --check

check-lists:
	@bash test/tools/check_lists.sh "$(C_FILES)" "$(SQL_FILES)"
	@bash test/tools/check_words.sh

clean: clean-programs

clean-programs:
	@for folder in test/unit test/sandbox test/simulate test/bench test/fuzz; do \
		if [ -f $$folder/Makefile ]; then $(MAKE) -s -C $$folder clean; fi; \
	done

.PHONY: all install uninstall installcheck clean clean-programs demo test test-long sanitize crashtest crashtest-selfcheck fuzz sqlsmith bench coverage unit format check-format check-lists
