#!/usr/bin/env bash
# The release binary must start on a machine that has a C library and nothing else: libpq is loaded at
# run time by those who use PostgreSQL.   tools/check_ldd.sh build/pontage
set -euo pipefail
binary=$1
mapfile -t needed < <(readelf -d "$binary" | sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p')
[ ${#needed[@]} -gt 0 ] || { echo "$binary: not a dynamic executable" >&2; exit 1; }
for library in "${needed[@]}"; do
  case "$library" in
    libc.so.6 | libm.so.6 | ld-linux-x86-64.so.2 | ld-linux-aarch64.so.1) ;;
    *) echo "$binary needs more than the C library: $library" >&2; exit 1 ;;
  esac
done
echo "$binary needs: ${needed[*]}"
