#include <set>
#include <string_view>

#include "base/check.h"
#include "codec/jcs.h"
#include "codec/json.h"
#include "codec/json_visit.h"
#include "testing/fuzz.h"
#include "testing/rebuild_json.h"

namespace pontage::codec {
namespace {

void CheckNoMemberTwice(const Json& json) {
  if (const auto* members = json.AsObject()) {
    std::set<std::string_view> seen;
    for (const JsonMember& member : *members) {
      PTG_CHECK(seen.insert(member.key).second);
      CheckNoMemberTwice(member.value);
    }
  }
  if (const auto* items = json.AsArray()) {
    for (const Json& item : *items) CheckNoMemberTwice(item);
  }
}

}  // namespace

// What was read is written so that it reads as the same again, in a form that no longer changes; no
// document with a member twice is read; the canonical form is a form of the same document. A
// visitor is told of the same document, and of no other.
FUZZ_TARGET(json) {
  const auto json = ParseJson(input);
  testing::RebuildJson rebuilt;
  const bool visited = VisitJson(input, {}, rebuilt).has_value();
  PTG_CHECK(!json || (visited && rebuilt.root == *json));
  if (!json && visited) {
    const std::set<std::string_view> names(rebuilt.names.begin(), rebuilt.names.end());
    PTG_CHECK(names.size() < rebuilt.names.size());
  }
  if (!json) return;
  CheckNoMemberTwice(*json);
  const std::string text = ToString(*json);
  const auto again = ParseJson(text, {.max_bytes = text.size()});
  PTG_CHECK(again && *again == *json && ToString(*again) == text);
  if (const auto canonical = Canonicalize(*json)) {
    const auto reread = ParseJson(*canonical, {.max_bytes = canonical->size()});
    PTG_CHECK(reread && *Canonicalize(*reread) == *canonical);
  }
}

}  // namespace pontage::codec
