#!/usr/bin/env bash
# Builds the extension with the places to die at and the faults to commit (DEVELOPER=1, see src/crash_point.c), in a copy
# of the tree and a stage of its own: BUILD_DIR/developer. Started in the tree by scripts that enter.sh runs.
set -euo pipefail

mkdir -p "$BUILD_DIR/developer/tree"
# Without what was built for use: those objects lack the places.
tar --create --exclude='*.o' --exclude='*.d' --exclude='*.so' Makefile payout.control src test/tools |
	tar --extract --directory="$BUILD_DIR/developer/tree"
export BUILD_DIR=$BUILD_DIR/developer
export PG_BINDIR=$BUILD_DIR/stage$("$PG_CONFIG" --bindir)
cd "$BUILD_DIR/tree"
bash test/tools/stage.sh WERROR=1 DEVELOPER=1
