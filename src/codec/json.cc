#include "codec/json.h"

#include <algorithm>
#include <charconv>

#include "base/check.h"

namespace pontage::codec {
namespace {

template <typename N>
std::optional<N> WholeNumber(const std::string* digits) {
  if (digits == nullptr) return std::nullopt;
  N n = 0;
  const char* end = digits->data() + digits->size();
  const auto [at, fault] = std::from_chars(digits->data(), end, n);
  if (fault != std::errc() || at != end) return std::nullopt;
  return n;
}

bool NeedsEscape(char c) {
  return (static_cast<unsigned char>(c) < 0x20) | (c == '"') | (c == '\\');
}

// Where in `text` from `i` on the next character stands that needs an escape; its size for none.
size_t NextEscape(std::string_view text, size_t i) {
  // Sixteen at a time without a way out are one vector.
  constexpr size_t kStep = 16;
  for (; i + kStep <= text.size(); i += kStep) {
    bool some = false;
    for (size_t k = 0; k < kStep; ++k) some |= NeedsEscape(text[i + k]);
    if (some) break;
  }
  while (i < text.size() && !NeedsEscape(text[i])) ++i;
  return i;
}

void AppendString(std::string& out, std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  out.push_back('"');
  size_t plain = 0;  // Where the run that needs no escape begins.
  for (size_t i = NextEscape(text, 0); i < text.size(); i = NextEscape(text, i + 1)) {
    const unsigned char c = static_cast<unsigned char>(text[i]);
    out.append(text.substr(plain, i - plain));
    plain = i + 1;
    out.push_back('\\');
    switch (c) {
      case '"':
      case '\\':
        out.push_back(static_cast<char>(c));
        break;
      case '\b':
        out.push_back('b');
        break;
      case '\f':
        out.push_back('f');
        break;
      case '\n':
        out.push_back('n');
        break;
      case '\r':
        out.push_back('r');
        break;
      case '\t':
        out.push_back('t');
        break;
      default:
        out.append("u00");
        out.push_back(kHex[c >> 4]);
        out.push_back(kHex[c & 15]);
    }
  }
  out.append(text.substr(plain));
  out.push_back('"');
}

// As deep as the document, which is bounded where it was parsed or by the code that built it.
void AppendJson(std::string& out, const Json& json) {
  switch (json.kind()) {
    case Json::Kind::kNull:
      out.append("null");
      return;
    case Json::Kind::kBool:
      out.append(*json.AsBool() ? "true" : "false");
      return;
    case Json::Kind::kNumber:
      out.append(*json.AsNumberText());
      return;
    case Json::Kind::kString:
      AppendString(out, *json.AsString());
      return;
    case Json::Kind::kArray: {
      char before = '[';
      for (const Json& item : *json.AsArray()) {
        out.push_back(before);
        AppendJson(out, item);
        before = ',';
      }
      if (before == '[') out.push_back('[');
      out.push_back(']');
      return;
    }
    case Json::Kind::kObject: {
      char before = '{';
      for (const JsonMember& member : *json.AsObject()) {
        out.push_back(before);
        AppendString(out, member.key);
        out.push_back(':');
        AppendJson(out, member.value);
        before = ',';
      }
      if (before == '{') out.push_back('{');
      out.push_back('}');
      return;
    }
  }
}

}  // namespace

Json Json::Object(std::initializer_list<JsonMember> members) {
  Json json;
  json.value_ = std::vector<JsonMember>(members);
  return json;
}

Json Json::Array(std::initializer_list<Json> items) { return Array(std::vector<Json>(items)); }

Json Json::Array(std::vector<Json> items) {
  Json json;
  json.value_ = std::move(items);
  return json;
}

std::optional<int64_t> Json::AsInt64() const { return WholeNumber<int64_t>(AsNumberText()); }
std::optional<uint64_t> Json::AsUint64() const { return WholeNumber<uint64_t>(AsNumberText()); }

const Json* Json::Find(std::string_view key) const {
  const std::vector<JsonMember>* members = AsObject();
  if (members == nullptr) return nullptr;
  for (const JsonMember& member : *members) {
    if (member.key == key) return &member.value;
  }
  return nullptr;
}

Json* Json::Find(std::string_view key) {
  return const_cast<Json*>(static_cast<const Json*>(this)->Find(key));
}

Json& Json::Set(std::string key, Json value) {
  if (IsNull()) *this = Object();
  auto* members = std::get_if<std::vector<JsonMember>>(&value_);
  PTG_CHECK(members != nullptr);
  if (Json* old = Find(key)) {
    *old = std::move(value);
  } else {
    members->push_back({std::move(key), std::move(value)});
  }
  return *this;
}

bool Json::Remove(std::string_view key) {
  auto* members = std::get_if<std::vector<JsonMember>>(&value_);
  return members != nullptr &&
         std::erase_if(*members, [&](const JsonMember& m) { return m.key == key; }) != 0;
}

Json& Json::Push(Json value) {
  if (IsNull()) *this = Array();
  auto* items = std::get_if<std::vector<Json>>(&value_);
  PTG_CHECK(items != nullptr);
  items->push_back(std::move(value));
  return *this;
}

bool operator==(const Json& a, const Json& b) {
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Json::Kind::kNull:
      return true;
    case Json::Kind::kBool:
      return *a.AsBool() == *b.AsBool();
    case Json::Kind::kNumber:
      return *a.AsNumberText() == *b.AsNumberText();
    case Json::Kind::kString:
      return *a.AsString() == *b.AsString();
    case Json::Kind::kArray:
      return *a.AsArray() == *b.AsArray();
    case Json::Kind::kObject:
      break;
  }
  const std::vector<JsonMember>& left = *a.AsObject();
  const std::vector<JsonMember>& right = *b.AsObject();
  if (left.size() != right.size()) return false;
  const auto same_place = [](const JsonMember& l, const JsonMember& r) {
    return l.key == r.key && l.value == r.value;
  };
  if (std::ranges::equal(left, right, same_place)) return true;
  // In another order. Sorted, or an object of many members would cost the square of their number.
  const auto sorted = [](const std::vector<JsonMember>& members) {
    std::vector<const JsonMember*> by_key;
    by_key.reserve(members.size());
    for (const JsonMember& member : members) by_key.push_back(&member);
    std::ranges::sort(by_key, {}, [](const JsonMember* m) -> std::string_view { return m->key; });
    return by_key;
  };
  return std::ranges::equal(
      sorted(left), sorted(right),
      [&](const JsonMember* l, const JsonMember* r) { return same_place(*l, *r); });
}

std::string ToString(const Json& json) {
  std::string out;
  AppendJson(out, json);
  return out;
}

std::string ChildPointer(std::string_view pointer, std::string_view key) {
  std::string out(pointer);
  out.push_back('/');
  for (const char c : key) {
    if (c == '~') {
      out.append("~0");
    } else if (c == '/') {
      out.append("~1");
    } else {
      out.push_back(c);
    }
  }
  return out;
}

}  // namespace pontage::codec
