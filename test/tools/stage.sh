#!/usr/bin/env bash
# Builds the extension and makes a private installation of PostgreSQL with it, in BUILD_DIR/stage, so
# that tests never touch the system's. Started in the tree by scripts that enter.sh runs.
#
# usage: stage.sh [MAKE-ARGUMENT...]
#
# PostgreSQL finds its libraries and its share folder relative to the place of its own program, so
# copies of the three folders under one new root are a whole installation.
set -euo pipefail

stage=$BUILD_DIR/stage

copy_folder()
{
	if [ ! -e "$stage$1" ]; then
		mkdir -p "$(dirname "$stage$1")"
		cp -a "$1" "$stage$1"
	fi
}

copy_server()
{
	copy_folder "$("$PG_CONFIG" --bindir)"
	copy_folder "$("$PG_CONFIG" --pkglibdir)"
	copy_folder "$("$PG_CONFIG" --sharedir)"
}

check_stage()
{
	local share
	"$PG_BINDIR/postgres" --version >/dev/null
	share=$("$PG_BINDIR/pg_config" --sharedir)
	if [ "$share" != "$stage$("$PG_CONFIG" --sharedir)" ] || [ ! -f "$share/extension/payout.control" ]; then
		echo "stage.sh: the staged PostgreSQL does not see the extension (share folder: $share)" >&2
		exit 1
	fi
}

copy_server
make -s -j"$(nproc)" PG_CONFIG="$PG_CONFIG" "$@" all
make -s PG_CONFIG="$PG_CONFIG" "$@" install DESTDIR="$stage" >/dev/null
check_stage
