#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace pontage::catalog {

// "GET /v1/quotes/*": an optional method, then a path of segments. "*" (also ":name" and "[name]")
// is any one segment; a "*" at the end is the rest, and matches the bare prefix too. Letter case
// does not count and one trailing slash is ignored, as in Target::key.
struct Pattern {
  enum class Kind : uint8_t { kLiteral, kOne, kRest };
  struct Part {
    Kind kind = Kind::kLiteral;
    std::string text;  // of a literal, in key form
    friend bool operator==(const Part&, const Part&) = default;
  };
  std::string method;  // empty: any
  std::vector<Part> parts;
};

// kConfig, saying what is wrong with it.
Result<Pattern> ParsePattern(std::string_view match);

// Finds the one route of a request. Immutable once made.
class RouteTable {
 public:
  // The i-th match belongs to the i-th route. kConfig for a bad pattern, and for two that have the
  // same shape and method: which of them wins would be chance.
  static Result<RouteTable> Make(const std::vector<std::string>& matches);

  // The most specific route: segment by segment a literal goes before "*", "*" before the rest;
  // then a named method before any. A route that names GET takes HEAD too. Nothing: nobody's
  // request.
  std::optional<size_t> Match(std::string_view method, std::string_view key) const;
  // Whether that route names one path, without "*" or parameters: only such a route stands before a
  // built-in path, or a catch-all would hide /healthz.
  bool NamesOnePath(size_t index) const;
  // Whether that route's path begins with the literal segment `text` (in key form).
  bool BeginsWith(size_t index, std::string_view text) const;
  // The methods that routes with a matching path name, each once; empty when none does.
  std::vector<std::string> MethodsOf(std::string_view key) const;
  // The methods that routes with a matching path do name, for 405: "GET, HEAD, POST"; empty when no
  // route matches the path.
  std::string Allowed(std::string_view key) const;

  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    Pattern pattern;
    size_t index = 0;
  };
  std::vector<Entry> entries_;  // most specific first, so the first that fits is the answer
};

}  // namespace pontage::catalog
