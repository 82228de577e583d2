#include "codec/jcs.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "base/try.h"

namespace pontage::codec {
namespace {

constexpr int64_t kMaxSafe = (1LL << 53) - 1;

// RFC 8785 §3.2.3 sorts by UTF-16 code units. In UTF-8 that is the order of the octets, except that
// a character above U+FFFF (lead octet F0 to F4) is a surrogate pair there and comes before U+E000
// to U+FFFF (lead octets EE and EF).
bool Before(std::string_view a, std::string_view b) {
  const auto [x, y] = std::ranges::mismatch(a, b);
  if (x == a.end() || y == b.end()) return a.size() < b.size();
  const auto rank = [](char c) {
    const unsigned char u = static_cast<unsigned char>(c);
    return u == 0xee || u == 0xef ? u + 0x100 : int{u};
  };
  return rank(*x) < rank(*y);
}

Result<> Append(std::string& out, const Json& json, const std::string& pointer) {
  if (const std::vector<JsonMember>* members = json.AsObject()) {
    std::vector<const JsonMember*> sorted;
    for (const JsonMember& member : *members) sorted.push_back(&member);
    std::ranges::sort(sorted, Before,
                      [](const JsonMember* m) -> std::string_view { return m->key; });
    out.push_back('{');
    for (const JsonMember* member : sorted) {
      if (member != sorted.front()) out.push_back(',');
      out.append(ToString(Json(member->key)));
      out.push_back(':');
      PTG_RUN(Append(out, member->value, ChildPointer(pointer, member->key)));
    }
    out.push_back('}');
    return {};
  }
  if (const std::vector<Json>* items = json.AsArray()) {
    out.push_back('[');
    for (size_t i = 0; i < items->size(); ++i) {
      if (i != 0) out.push_back(',');
      PTG_RUN(Append(out, (*items)[i], ChildPointer(pointer, std::to_string(i))));
    }
    out.push_back(']');
    return {};
  }
  if (json.kind() == Json::Kind::kNumber) {
    const std::optional<int64_t> n = json.AsInt64();
    if (!n || *n > kMaxSafe || *n < -kMaxSafe) {
      return Fail(Error(Code::kBadRequest, "a number without a canonical form here")
                      .At(pointer)
                      .Want("a whole number within 2^53 - 1"));
    }
    out.append(std::to_string(*n));
    return {};
  }
  out.append(ToString(json));
  return {};
}

}  // namespace

Result<std::string> Canonicalize(const Json& json) {
  std::string out;
  PTG_RUN(Append(out, json, ""));
  return out;
}

}  // namespace pontage::codec
