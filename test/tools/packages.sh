#!/usr/bin/env bash
# Installs the Debian packages the project needs, and only those that are missing.
# Where nothing is missing it asks for nothing: no network, no root.
#
# usage: packages.sh [sanitize | fuzz | format]...
#   without an argument: what building and testing need
#   sanitize: the analysers of `make sanitize` as well
#   fuzz:     what `make test` and `make fuzz` need beyond: libFuzzer, sqlsmith
#   format:   the formatter of `make format`, alone
set -euo pipefail

PG_MAJOR=${PG_MAJOR:-15}

build_packages=(
	build-essential
	pkg-config
	"postgresql-$PG_MAJOR"
	"postgresql-server-dev-$PG_MAJOR"
	libcurl4-openssl-dev
	libssl-dev
	# the sandbox bank
	libmicrohttpd-dev
	libjansson-dev
	libpq-dev
	# TAP tests and scripts
	libipc-run-perl
	curl
	openssl
	nghttp2-proxy
)
sanitize_packages=(valgrind clang)
fuzz_packages=(clang-14 libclang-rt-14-dev sqlsmith)
format_packages=(clang-format-14)

# While this file is there, Debian's package makes and starts no database cluster of its own.
no_cluster=/etc/postgresql-common/createcluster.d/payout-tests.conf

is_installed()
{
	[ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Prints those of the packages named that are not installed.
missing_of()
{
	local package
	for package in "$@"; do
		if ! is_installed "$package"; then
			echo "$package"
		fi
	done
}

as_root()
{
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

apt_get()
{
	as_root env DEBIAN_FRONTEND=noninteractive apt-get --quiet "$@"
}

# A fresh machine has no package lists, so apt does not know the names yet.
apt_knows_all()
{
	local package
	for package in "$@"; do
		if ! apt-cache show "$package" >/dev/null 2>&1; then
			return 1
		fi
	done
}

install_packages()
{
	# Old lists name files that are gone from the mirror: renew them when the first try fails.
	if apt_knows_all "$@" && apt_get install --yes --no-install-recommends "$@"; then
		return
	fi
	apt_get update
	apt_get install --yes --no-install-recommends "$@"
}

forbid_cluster()
{
	as_root mkdir -p "$(dirname "$no_cluster")"
	echo "create_main_cluster = false" | as_root tee "$no_cluster" >/dev/null
	trap allow_cluster EXIT
}

allow_cluster()
{
	as_root rm -f "$no_cluster"
}

wanted=()
if [ $# -eq 0 ]; then
	wanted=("${build_packages[@]}")
fi
for group in "$@"; do
	case $group in
		sanitize) wanted+=("${build_packages[@]}" "${sanitize_packages[@]}") ;;
		fuzz) wanted+=("${build_packages[@]}" "${fuzz_packages[@]}") ;;
		format) wanted+=("${format_packages[@]}") ;;
		*)
			echo "packages.sh: unknown group \"$group\"" >&2
			exit 2
			;;
	esac
done

if ! command -v dpkg-query >/dev/null; then
	echo "packages.sh: not a Debian system; make sure yourself that these are there: ${wanted[*]}" >&2
	exit 0
fi

mapfile -t missing < <(missing_of "${wanted[@]}")
if [ ${#missing[@]} -eq 0 ]; then
	exit 0
fi

if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
	echo "packages.sh: these packages are missing, and installing them needs root or sudo:" >&2
	echo "  apt-get install ${missing[*]}" >&2
	exit 1
fi

echo "packages.sh: installing ${missing[*]}" >&2
if ! is_installed "postgresql-$PG_MAJOR"; then
	forbid_cluster
fi
install_packages "${missing[@]}"
