#!/bin/bash
# Unpack HTCondor's daemons from Debian packages into a directory of their own:
#
#   install_condor.sh WORK PREFIX SUITE PACKAGE...
#
# The host's package database is not touched: apt works on lists of its own, from the mirror the host is configured for.
# Every program is made to use the unpacked glibc, which may be newer than the host's.
set -euo pipefail
work=$1 prefix=$2 suite=$3
shift 3

mirror=$( { sed -n 's/^URIs:[[:space:]]*\([^[:space:]]*\).*/\1/p' /etc/apt/sources.list.d/*.sources
            sed -nE 's/^deb[[:space:]]+(\[[^]]*\][[:space:]]+)?([^[:space:]]+).*/\2/p' \
                /etc/apt/sources.list /etc/apt/sources.list.d/*.list; } 2>/dev/null | sed -n 1p || true)
[ -n "$mirror" ] || { echo "apt is configured for no mirror" >&2; exit 1; }

rm -rf "$work" "$prefix"
mkdir -p "$work"/{state/lists/partial,cache/archives/partial,etc/parts,debs,root}
: > "$work/state/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" > "$work/etc/sources.list"
cat > "$work/apt.conf" <<C
Dir::State "$work/state";
Dir::State::status "$work/state/status";
Dir::Cache "$work/cache";
Dir::Etc::SourceList "$work/etc/sources.list";
Dir::Etc::SourceParts "$work/etc/parts";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "$work/etc/parts";
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
Acquire::Retries "3";
C
export APT_CONFIG=$work/apt.conf
apt-get update -qq
(cd "$work/debs" && apt-get download -qq "$@")

root=$work/root
for deb in "$work"/debs/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$root" --no-same-owner --exclude='./usr/share/doc*' \
        --exclude='./usr/share/man*' --exclude='./usr/share/locale*' --exclude='./usr/lib/python3*' \
        --exclude='./usr/lib/*/gconv*'
done

libraries=$(dirname "$(ls "$root"/usr/lib/*/libc.so.6)")
loader=$(cd "$libraries" && ls ld-linux*.so.* | sed -n 1p)
below=${libraries#"$root"}
cp "$root/usr/bin/patchelf" "$work/patchelf"
patch() { "$libraries/$loader" --library-path "$libraries" "$work/patchelf" "$@"; }
for file in "$root"/usr/sbin/* "$root"/usr/bin/condor_* "$root"/usr/libexec/condor/*; do
    [ -f "$file" ] && [ ! -L "$file" ] || continue
    # Scripts and plugins have no interpreter to exchange.
    patch --print-interpreter "$file" >/dev/null 2>&1 || continue
    patch --set-interpreter "$prefix$below/$loader" --force-rpath --set-rpath "$prefix/usr/lib:$prefix$below" "$file"
done
mv "$root" "$prefix"
CONDOR_CONFIG=/dev/null "$prefix/usr/bin/condor_version"
rm -rf "$work"
touch "$prefix/.ready"
