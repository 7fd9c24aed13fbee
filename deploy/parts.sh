#!/bin/sh
# Unpacks Debian packages that tests run real parts from: parts.sh FOLDER PACKAGE…
# Unpacked and not installed: no service starts, nothing of the system changes, and no root is
# needed. What a machine has already (on PATH) is used as it is by those who ask for it.
set -eu
folder=$1
shift

stop() { echo "embedway: $1" >&2; exit 1; }

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null \
    || stop "$* can be fetched on Debian only: install what you need and have it on PATH"
mkdir -p "$folder"
for package in "$@"; do
    [ -e "$folder/.$package" ] && continue
    fresh=$(mktemp -d "$folder/.fetch.XXXXXX")
    trap 'rm -rf "$fresh"' EXIT
    (
        cd "$fresh"
        apt-get -qq download "$package" >/dev/null 2>&1 \
            || { apt-get -qq update >/dev/null 2>&1 || :; apt-get -qq download "$package" 2>&1; }
    ) || stop "the Debian package $package could not be fetched"
    dpkg-deb --extract "$fresh"/*.deb "$folder"
    rm -rf "$fresh"
    touch "$folder/.$package"
done
