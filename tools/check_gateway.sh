#!/usr/bin/env bash
# The binary with the gateway's roles alone must hold nothing that sells, signs licenses or operates: of these
# folders no function at all, by the names in its symbol table.   tools/check_gateway.sh BINARY [WITH_ALL_ROLES]
# With a second binary, which has all of them, it is made sure that the names would be found.
set -euo pipefail
binary=$1
readonly FORBIDDEN='pontage::(sales|mail|stripe|console|buyer|sandbox)::|pontage::license::Issuer|pontage::app::(Signing|MakeSalesRole|AllRoles|RunCommandLine)'
list=$(mktemp)
trap 'rm -f "$list"' EXIT
nm -C --defined-only "$binary" >"$list"
count=$(grep -c ' [TtWw] pontage::' "$list" || true)
[ "$count" -gt 1000 ] || { echo "$binary has $count functions of ours: is it stripped?" >&2; exit 1; }
if grep -E " [A-Za-z] .*($FORBIDDEN)" "$list" >&2; then
  echo "$binary holds what a gateway may not have" >&2
  exit 1
fi
if [ $# -gt 1 ]; then
  nm -C --defined-only "$2" >"$list"
  for name in pontage::sales:: pontage::mail:: pontage::license::Issuer pontage::app::Signing; do
    grep -qE " [Tt] $name" "$list" || { echo "$2 has no $name: the check sees nothing" >&2; exit 1; }
  done
fi
echo "$binary: $count functions of ours, none of sales, console or the issuer"
