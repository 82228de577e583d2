#include "sandbox/stripe/fields.h"

#include <algorithm>
#include <utility>

namespace pontage::sandbox::stripe {

using codec::Json;
using codec::JsonMember;

const Json& Member(const Json& object, std::string_view key) {
  static const Json kNull;
  const Json* found = object.Find(key);
  return found != nullptr ? *found : kNull;
}

std::string TextOf(const Json& object, std::string_view key) {
  const std::string* text = Member(object, key).AsString();
  return text != nullptr ? *text : "";
}

int64_t IntOf(const Json& object, std::string_view key) {
  return Member(object, key).AsInt64().value_or(0);
}

bool IsTrue(const Json& object, std::string_view key) {
  const bool* value = Member(object, key).AsBool();
  return value != nullptr && *value;
}

std::optional<UnixMs> TimeOf(const Json& object, std::string_view key) {
  const std::optional<int64_t> seconds = Member(object, key).AsInt64();
  if (!seconds) return std::nullopt;
  return UnixMs::FromSeconds(*seconds);
}

Json OrNull(std::optional<std::string> text) { return text ? Json(*std::move(text)) : Json(); }

Json WholeList(std::vector<Json> items, std::string url) {
  return Json::Object({{"object", "list"},
                       {"data", Json::Array(std::move(items))},
                       {"has_more", false},
                       {"url", std::move(url)}});
}

const std::vector<Json>& ItemsOf(const Json& list) {
  static const std::vector<Json> kNone;
  const std::vector<Json>* items = Member(list, "data").AsArray();
  return items != nullptr ? *items : kNone;
}

bool IsWebUrl(std::string_view text) {
  if (!text.starts_with("http://") && !text.starts_with("https://")) return false;
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7f'; });
}

Json Changes(const Json& before, const Json& after) {
  Json changed;
  for (const JsonMember& member : *before.AsObject()) {
    const Json& now = Member(after, member.key);
    if (now == member.value) continue;
    const bool nested = now.IsObject() && member.value.IsObject();
    changed.Set(member.key, nested ? Changes(member.value, now) : member.value);
  }
  // What was not there before was nothing.
  for (const JsonMember& member : *after.AsObject()) {
    if (before.Find(member.key) == nullptr) changed.Set(member.key, nullptr);
  }
  return changed;
}

}  // namespace pontage::sandbox::stripe
