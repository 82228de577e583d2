#!/usr/bin/env bash
# The release binary must start on a machine that has a C library and nothing else: libpq is loaded at
# run time by those who use PostgreSQL.   tools/check_ldd.sh build/pontage
set -euo pipefail
binary=$1
needed=$(readelf -d "$binary" | sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p')
bad=$(grep -vxE 'libc\.so\.6|libm\.so\.6|ld-linux-(x86-64|aarch64)\.so\.[12]' <<<"$needed" || true)
if [ -n "$bad" ]; then
  echo "$binary needs more than the C library: $(echo $bad)" >&2
  exit 1
fi
echo "$binary needs: $(echo $needed)"
