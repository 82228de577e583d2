#include "catalog/route_table.h"

#include <algorithm>

#include "base/try.h"
#include "catalog/path.h"

namespace pontage::catalog {
namespace {

using Kind = Pattern::Kind;

// Less is more specific. Parts are compared from the left; a path that ends is less specific than
// one that goes on with a literal or "*", and more specific than one that goes on with the rest.
int Rank(const Pattern& p, size_t i) {
  if (i >= p.parts.size()) return 2;
  switch (p.parts[i].kind) {
    case Kind::kLiteral:
      return 0;
    case Kind::kOne:
      return 1;
    case Kind::kRest:
      return 3;
  }
  return 4;
}

bool Before(const Pattern& a, const Pattern& b) {
  const size_t n = std::max(a.parts.size(), b.parts.size());
  for (size_t i = 0; i < n; ++i) {
    const int x = Rank(a, i);
    const int y = Rank(b, i);
    if (x != y) return x < y;
    if (x == 0 && a.parts[i].text != b.parts[i].text) return a.parts[i].text < b.parts[i].text;
  }
  return !a.method.empty() && b.method.empty();
}

bool Fits(const Pattern& p, std::string_view key) {
  // `key` is "/" or "/a/b".
  if (key == "/") key = "";
  for (const Pattern::Part& part : p.parts) {
    if (part.kind == Kind::kRest) return true;
    if (key.empty()) return false;
    key.remove_prefix(1);
    const std::string_view segment = key.substr(0, key.find('/'));
    key.remove_prefix(segment.size());
    if (part.kind == Kind::kLiteral && part.text != segment) return false;
  }
  return key.empty();
}

bool MethodFits(const Pattern& p, std::string_view method) {
  return p.method.empty() || p.method == method || (p.method == "GET" && method == "HEAD");
}

Error Bad(std::string_view match, const char* why) {
  return Error(Code::kConfig, "match \"" + std::string(match) + "\" " + why)
      .Want("an optional method and a path, like \"GET /v1/quotes/*\"");
}

}  // namespace

Result<Pattern> ParsePattern(std::string_view match) {
  Pattern pattern;
  std::string_view path = match;
  const size_t space = match.find(' ');
  if (space != match.npos) {
    const std::string_view method = match.substr(0, space);
    path = match.substr(space + 1);
    const bool upper =
        !method.empty() && std::ranges::all_of(method, [](char c) { return c >= 'A' && c <= 'Z'; });
    if (!upper) return Fail(Bad(match, "has a method that is not in capital letters"));
    pattern.method = method;
  }
  if (path.empty() || path.front() != '/') return Fail(Bad(match, "has no path"));
  if (path.find_first_of("?# ") != path.npos) return Fail(Bad(match, "has more than a path"));
  std::string_view rest = path;
  while (!rest.empty()) {
    rest.remove_prefix(1);
    const std::string_view raw = rest.substr(0, rest.find('/'));
    rest.remove_prefix(raw.size());
    if (raw.empty()) {
      if (rest.empty()) break;  // one trailing slash
      return Fail(Bad(match, "has an empty segment"));
    }
    const bool named = raw.front() == ':' || (raw.front() == '[' && raw.back() == ']');
    if (raw == "*" && rest.empty()) {
      pattern.parts.push_back({Kind::kRest, ""});
    } else if (raw == "*" || named) {
      pattern.parts.push_back({Kind::kOne, ""});
    } else if (raw.find('*') != raw.npos) {
      return Fail(Bad(match, "has a * inside a segment"));
    } else {
      const Result<Target> target = Canonicalize("/" + std::string(raw));
      if (!target || target->key == "/") return Fail(Bad(match, "has a segment that is no path"));
      pattern.parts.push_back({Kind::kLiteral, target->key.substr(1)});
    }
  }
  return pattern;
}

Result<RouteTable> RouteTable::Make(const std::vector<std::string>& matches) {
  RouteTable table;
  for (size_t i = 0; i < matches.size(); ++i) {
    PTG_TRY(Pattern pattern, ParsePattern(matches[i]));
    table.entries_.push_back({std::move(pattern), i});
  }
  std::ranges::sort(table.entries_, [](const Entry& a, const Entry& b) {
    if (Before(a.pattern, b.pattern)) return true;
    return !Before(b.pattern, a.pattern) && a.index < b.index;
  });
  for (size_t i = 1; i < table.entries_.size(); ++i) {
    const Entry& a = table.entries_[i - 1];
    // Same shape sorts side by side, methods within it in the order they came.
    for (size_t k = i;
         k < table.entries_.size() && table.entries_[k].pattern.parts == a.pattern.parts; ++k) {
      if (table.entries_[k].pattern.method == a.pattern.method) {
        return Fail(Error(Code::kConfig, "routes \"" + matches[a.index] + "\" and \"" +
                                             matches[table.entries_[k].index] +
                                             "\" match the same requests")
                        .Want("one route for each path and method"));
      }
    }
  }
  return table;
}

std::optional<size_t> RouteTable::Match(std::string_view method, std::string_view key) const {
  for (const Entry& entry : entries_) {
    if (MethodFits(entry.pattern, method) && Fits(entry.pattern, key)) return entry.index;
  }
  return std::nullopt;
}

bool RouteTable::NamesOnePath(size_t index) const {
  const auto entry =
      std::ranges::find_if(entries_, [index](const Entry& e) { return e.index == index; });
  return entry != entries_.end() &&
         std::ranges::all_of(entry->pattern.parts,
                             [](const Pattern::Part& p) { return p.kind == Kind::kLiteral; });
}

bool RouteTable::BeginsWith(size_t index, std::string_view text) const {
  const auto entry =
      std::ranges::find_if(entries_, [index](const Entry& e) { return e.index == index; });
  if (entry == entries_.end() || entry->pattern.parts.empty()) return false;
  const Pattern::Part& first = entry->pattern.parts.front();
  return first.kind == Kind::kLiteral && first.text == text;
}

std::vector<std::string> RouteTable::MethodsOf(std::string_view key) const {
  std::vector<std::string> methods;
  for (const Entry& entry : entries_) {
    const std::string& method = entry.pattern.method;
    if (method.empty() || !Fits(entry.pattern, key)) continue;
    if (std::ranges::find(methods, method) == methods.end()) methods.push_back(method);
  }
  return methods;
}

std::string RouteTable::Allowed(std::string_view key) const {
  std::string allowed;
  const auto add = [&allowed](std::string_view method) {
    if (!allowed.empty()) allowed += ", ";
    allowed += method;
  };
  for (const Entry& entry : entries_) {
    if (!Fits(entry.pattern, key) || entry.pattern.method.empty()) continue;
    add(entry.pattern.method);
    if (entry.pattern.method == "GET") add("HEAD");
  }
  return allowed;
}

}  // namespace pontage::catalog
