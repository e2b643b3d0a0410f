#!/usr/bin/env bash
# Runs a command as an unprivileged user, since PostgreSQL refuses to run as root.
# As root: as `postgres`, or `nobody` where that user is missing. As anyone else: as is.
#
# usage: as_user.sh COMMAND [ARG...]
#        as_user.sh --name           prints the user that commands run as
#
# HOME and TMPDIR are BUILD_DIR/home and BUILD_DIR/tmp where BUILD_DIR is set (enter.sh
# makes both writable for that user), else /tmp.
set -euo pipefail

user_name()
{
	if [ "$(id -u)" -ne 0 ]; then
		id -un
	elif id postgres >/dev/null 2>&1; then
		echo postgres
	else
		echo nobody
	fi
}

if [ $# -eq 0 ]; then
	echo "usage: as_user.sh COMMAND [ARG...]" >&2
	exit 2
fi

user=$(user_name)
if [ "$1" = --name ]; then
	echo "$user"
	exit 0
fi

if [ "$(id -u)" -ne 0 ]; then
	exec "$@"
fi

if [ -n "${BUILD_DIR:-}" ]; then
	export HOME=$BUILD_DIR/home
	export TMPDIR=$BUILD_DIR/tmp
else
	export HOME=/tmp
	export TMPDIR=/tmp
fi
export USER=$user LOGNAME=$user

# setpriv becomes the command itself, so signals and exit codes need no middleman.
drop=(setpriv "--reuid=$user" "--regid=$(id -g "$user")" --init-groups)

# A checkout under /root is closed to that user; a command must not start in a closed folder.
if ! "${drop[@]}" test -x "$PWD" -a -r "$PWD"; then
	cd "$HOME"
fi
exec "${drop[@]}" "$@"
