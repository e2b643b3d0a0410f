#!/usr/bin/env bash
# Runs one of the project's scripts in a place of its own, the same for root and for a user:
# packages installed, the tree copied into a build folder, privileges dropped. The checkout and
# the system's PostgreSQL are only read. Called by the Makefile for test, demo, sanitize, coverage.
#
# usage: enter.sh [--packages GROUP] SCRIPT [ARG...]     SCRIPT relative to the top of the tree
#
# BUILD_DIR  the build folder; given: kept, and built on next time; not given: a temporary one,
#            removed when the script succeeds (KEEP=1: kept)
# AGAINST    a commit, whose tree is put into BUILD_DIR/against/tree as well
#
# The script starts in BUILD_DIR/tree with
#   PG_CONFIG, PG_BINDIR   the system's pg_config; the bin folder of the staged installation
#   PATH                   PG_BINDIR first (filled by stage.sh)
#   PGXS_DIR, PG_REGRESS   the test programs that come with the server's development files
#   LOGS                   where logs go
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)

# Socket paths end after 107 bytes; deeper folders keep their short-lived files in /tmp.
socket_folder_bytes_max=60

make_build_dir()
{
	if [ -n "${BUILD_DIR:-}" ]; then
		mkdir -p "$BUILD_DIR"
		BUILD_DIR=$(cd "$BUILD_DIR" && pwd)
		KEEP=1
	else
		BUILD_DIR=$(mktemp -d "${TMPDIR:-/tmp}/payout.XXXXXX")
		chmod 755 "$BUILD_DIR"
	fi
	mkdir -p "$BUILD_DIR"/{tree,stage,home,tmp,logs}
	export BUILD_DIR
}

# Built files stay behind in the checkout: they may come from other compilers and flags.
# Those of an earlier run in the copy stay, so that a kept build folder builds fast; what was
# deleted in the checkout goes.
copy_tree()
{
	find "$BUILD_DIR/tree" -type f ! -name '*.o' ! -name '*.d' ! -name '*.so' -delete
	tar --create --directory="$top" --exclude=./.git --exclude='*.o' --exclude='*.d' --exclude='*.so' \
		--exclude='./payout--*.sql' --exclude=./test/sandbox/sandbox --exclude=./test/sandbox/relay --exclude=./test/simulate/client \
		--exclude=./test/bench/flush --exclude=./test/bench/bare_notify --exclude=./test/bench/first_byte --exclude=./test/fuzz/build . |
		tar --extract --directory="$BUILD_DIR/tree" --no-same-owner
}

copy_commit()
{
	rm -rf "$BUILD_DIR/against"
	mkdir -p "$BUILD_DIR/against/tree"
	git -C "$top" archive "$AGAINST" | tar --extract --directory="$BUILD_DIR/against/tree" --no-same-owner
}

hand_over()
{
	local user
	user=$("$here/as_user.sh" --name)
	if [ "$(id -u)" -eq 0 ]; then
		chown -R "$user:" "$BUILD_DIR"/{tree,stage,home,tmp,logs} ${AGAINST:+"$BUILD_DIR/against"}
		chown "$user:" "$BUILD_DIR"
	fi
	if ! "$here/as_user.sh" test -w "$BUILD_DIR/tree"; then
		echo "enter.sh: user $user cannot write to $BUILD_DIR; choose BUILD_DIR or TMPDIR elsewhere" >&2
		exit 1
	fi
}

set_environment()
{
	local pgxs
	if [ -z "${PG_CONFIG:-}" ]; then
		PG_CONFIG=/usr/lib/postgresql/${PG_MAJOR:-15}/bin/pg_config
		[ -x "$PG_CONFIG" ] || PG_CONFIG=$(command -v pg_config)
	fi
	pgxs=$("$PG_CONFIG" --pgxs)
	export PG_CONFIG
	PG_BINDIR=$BUILD_DIR/stage$("$PG_CONFIG" --bindir)
	export PG_BINDIR
	export PGXS_DIR=${pgxs%/src/makefiles/pgxs.mk}
	export PG_REGRESS=$PGXS_DIR/src/test/regress/pg_regress
	export PATH=$PG_BINDIR:$PATH
	export LOGS=$BUILD_DIR/logs
	export HOME=$BUILD_DIR/home
	export TMPDIR=$BUILD_DIR/tmp
	if [ ${#TMPDIR} -gt $socket_folder_bytes_max ]; then
		TMPDIR=/tmp
	fi
	# Expected outputs need one language and one sort order, whatever the machine speaks.
	export LANG=C.UTF-8 LC_ALL=C.UTF-8
	# The outer make's flags and the user's own connections are not meant for what runs in here.
	unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES GNUMAKEFLAGS
	unset PGHOST PGHOSTADDR PGPORT PGUSER PGPASSWORD PGDATABASE PGSERVICE PGOPTIONS PGDATA
	# Test servers listen on loopback; a proxy of the environment must not see these requests.
	export no_proxy=127.0.0.1,localhost NO_PROXY=127.0.0.1,localhost
}

leave()
{
	local status=$?
	if [ "$status" -eq 0 ] && [ "${KEEP:-0}" != 1 ]; then
		rm -rf "$BUILD_DIR"
	else
		echo "enter.sh: the build folder is kept: $BUILD_DIR" >&2
	fi
	exit "$status"
}

packages=()
if [ "${1:-}" = --packages ]; then
	packages=("$2")
	shift 2
fi
if [ $# -eq 0 ] || [ ! -f "$top/$1" ]; then
	echo "enter.sh: no script \"${1:-}\" in $top" >&2
	exit 2
fi
script=$1
shift

bash "$here/packages.sh" "${packages[@]}"
make_build_dir
trap leave EXIT
copy_tree
if [ -n "${AGAINST:-}" ]; then
	copy_commit
fi
hand_over
set_environment
cd "$BUILD_DIR/tree"
bash test/tools/as_user.sh bash "$script" "$@"
