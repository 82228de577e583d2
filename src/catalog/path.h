#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace pontage::catalog {

// A request target, read once, with two outputs, so that what was matched is what is sent.
struct Target {
  // For matching: percent-decoded (but %2F and %5C), ASCII lower case, "\" as "/", no empty
  // segments, no dot segments, no ";parameters", no trailing slash ("/" for the root).
  std::string key;
  // The same as other servers read it, where that is another key: such as take %2F for a slash,
  // %5C, or both, and such as know no ";parameters". What costs nothing under `key` but something
  // under one of these is not free: some upstream would hand it out.
  std::vector<std::string> other_keys;
  // For the upstream: the same segments with their case, parameters and trailing slash, re-encoded.
  std::string forward;
  // With its "?", untouched; empty when there is none.
  std::string query;
};

// kBadRequest for a target that is not origin form, a malformed escape, an encoded control
// character or NUL, bytes that are not UTF-8 once decoded, a path that climbs above its root, and
// one with both an escaped slash or backslash and a dot segment beside it: each of them has been a
// way past a paywall, so it is refused and not guessed at. Source: x402 reference §1.8.
Result<Target> Canonicalize(std::string_view target);

// `text` with each escape as its octet; what only looks like an escape stays as it is.
std::string Decoded(std::string_view text);

}  // namespace pontage::catalog
