#!/usr/bin/env bash
# A tarball and a .deb around the release binary.   tools/package.sh build/pontage dist
# The binary carries everything but the C library, so the .deb depends on libc6 alone; libpq5 is for
# those whose store is PostgreSQL.
set -euo pipefail
binary=$1 out=$2
version=$(sed -nE 's/^project\(pontage VERSION ([0-9.]+).*/\1/p' CMakeLists.txt)
arch=$(dpkg --print-architecture)
name=pontage-$version-linux-$arch
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"

# Same bytes from the same commit: names sorted, owners and times fixed.
stamp=$(git log -1 --format=%ct 2>/dev/null || echo 0)

mkdir -p "$work/$name"
strip -o "$work/$name/pontage" "$binary" 2>/dev/null || llvm-strip-19 -o "$work/$name/pontage" "$binary"
cp LICENSE CHANGELOG.md README.md deploy/pontage.service "$work/$name/"
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$stamp" -cf - "$name" |
  gzip -n >"$out/$name.tar.gz"

deb=$work/deb
mkdir -p "$deb/DEBIAN" "$deb/usr/bin" "$deb/lib/systemd/system" "$deb/usr/share/doc/pontage"
install -m 755 "$work/$name/pontage" "$deb/usr/bin/pontage"
install -m 644 deploy/pontage.service "$deb/lib/systemd/system/pontage.service"
install -m 644 LICENSE "$deb/usr/share/doc/pontage/copyright"
install -m 644 CHANGELOG.md "$deb/usr/share/doc/pontage/CHANGELOG.md"
cat >"$deb/DEBIAN/control" <<EOF
Package: pontage
Version: $version
Architecture: $arch
Maintainer: The Pontage authors <pontage@localhost>
Depends: libc6 (>= 2.35)
Recommends: ca-certificates
Suggests: libpq5
Section: web
Priority: optional
Description: x402 paywall gateway and facilitator
 Stands between a buyer and an API, an MCP server or an agent: one price list,
 payment per call or a license, one ledger, one binary.
EOF
find "$deb" -exec touch -h -d "@$stamp" {} +
SOURCE_DATE_EPOCH=$stamp dpkg-deb --root-owner-group --build "$deb" "$out/pontage_${version}_$arch.deb" >/dev/null

(cd "$out" && sha256sum "$name.tar.gz" "pontage_${version}_$arch.deb" >SHA256SUMS)
ls -l "$out"
