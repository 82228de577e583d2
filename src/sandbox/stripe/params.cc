#include "sandbox/stripe/params.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/try.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

constexpr size_t kMaxMetadata = 50;
constexpr size_t kMaxMetadataKey = 40;
constexpr size_t kMaxMetadataValue = 500;
constexpr size_t kMaxText = 5'000;  // as Stripe: longer texts are refused with parameter_invalid

// Takes the first step off a path with dots.
std::string_view TakeStep(std::string_view& path) {
  const size_t end = std::min(path.find('.'), path.size());
  const std::string_view step = path.substr(0, end);
  path.remove_prefix(std::min(end + 1, path.size()));
  return step;
}

bool Fits(std::span<const std::string> steps, std::string_view pattern, bool empty) {
  for (const std::string& step : steps) {
    if (pattern.empty()) return false;
    const std::string_view want = TakeStep(pattern);
    if (want == "**") return true;
    if (want != "*" && want != step) return false;
  }
  // An empty value may clear what has members.
  return pattern.empty() || empty;
}

std::string Spelled(std::span<const std::string> steps) {
  std::string name;
  for (const std::string& step : steps) name += name.empty() ? step : '[' + step + ']';
  return name;
}

Answered<> CheckKnown(const FormNode& node, std::vector<std::string>& steps,
                      std::span<const std::string_view> patterns) {
  if (node.text && std::ranges::none_of(patterns, [&](std::string_view pattern) {
        return Fits(steps, pattern, node.text->empty());
      })) {
    const std::string name = Spelled(steps);
    return Refuse("parameter_unknown", "Received unknown parameter: " + name, name);
  }
  for (const FormMember& member : node.members) {
    steps.push_back(member.name);
    PTG_RUN(CheckKnown(member.node, steps, patterns));
    steps.pop_back();
  }
  return {};
}

// The position that a list's member is named by; nothing when it is named otherwise.
std::optional<size_t> IndexOf(std::string_view name) {
  size_t index = 0;
  const auto [at, fault] = std::from_chars(name.data(), name.data() + name.size(), index);
  if (fault != std::errc() || at != name.data() + name.size()) return std::nullopt;
  return index;
}

}  // namespace

Answered<> Params::Only(std::span<const std::string_view> patterns) const {
  std::vector<std::string> steps;
  return CheckKnown(*node_, steps, patterns);
}

const FormNode* Params::Find(std::string_view path) const {
  const FormNode* at = node_;
  while (at != nullptr && !path.empty()) at = at->Find(TakeStep(path));
  return at;
}

std::string Params::NameOf(std::string_view path) const {
  std::string name = name_;
  while (!path.empty()) {
    const std::string step(TakeStep(path));
    name += name.empty() ? step : '[' + step + ']';
  }
  return name;
}

bool Params::Clears(std::string_view path) const {
  const FormNode* found = Find(path);
  return found != nullptr && found->text && found->text->empty();
}

Params Params::At(std::string_view path) const {
  static const FormNode kNone;
  const FormNode* found = Find(path);
  return Params(found != nullptr ? *found : kNone, NameOf(path));
}

std::vector<Params> Params::List(std::string_view path) const {
  const FormNode* found = Find(path);
  if (found == nullptr) return {};
  // "[10]" comes behind "[9]"; what is no number keeps its place at the end.
  std::vector<std::pair<size_t, size_t>> order;
  for (size_t i = 0; i < found->members.size(); ++i) {
    order.emplace_back(IndexOf(found->members[i].name).value_or(SIZE_MAX), i);
  }
  std::ranges::sort(order);
  std::vector<Params> items;
  const std::string name = NameOf(path);
  for (const auto& [index, at] : order) {
    const FormMember& member = found->members[at];
    items.push_back(Params(member.node, name + '[' + member.name + ']'));
  }
  return items;
}

std::unexpected<ApiError> Params::Missing(std::string_view path) const {
  const std::string name = NameOf(path);
  return Refuse("parameter_missing", "Missing required param: " + name + ".", name);
}

Answered<std::optional<std::string>> Params::MaybeText(std::string_view path) const {
  const FormNode* found = Find(path);
  if (found == nullptr) return std::nullopt;
  const std::string name = NameOf(path);
  if (!found->text) return Refuse("", "Invalid string: " + name + " has members", name);
  if (found->text->size() > kMaxText) {
    return Refuse("parameter_invalid_string_blank", "Invalid string: " + name + " is too long",
                  name);
  }
  if (found->text->empty()) return std::nullopt;
  return *found->text;
}

Answered<std::string> Params::Text(std::string_view path) const {
  PTG_TRY(std::optional<std::string> text, MaybeText(path));
  if (text) return *std::move(text);
  if (!Clears(path)) return Missing(path);
  const std::string name = NameOf(path);
  return Refuse("parameter_invalid_empty",
                "You passed an empty string for '" + name +
                    "'. We assume empty values are an attempt to unset a parameter; however '" +
                    name + "' cannot be unset. You should remove '" + name +
                    "' from your request or supply a non-empty value.",
                name);
}

Answered<std::vector<std::string>> Params::Texts(std::string_view path, size_t most) const {
  std::vector<std::string> texts;
  for (const Params& item : List(path)) {
    PTG_TRY(std::string text, item.Text(""));
    texts.push_back(std::move(text));
  }
  if (texts.size() > most) {
    const std::string name = NameOf(path);
    return Refuse("", "Too many items in " + name + ": at most " + std::to_string(most), name);
  }
  return texts;
}

Answered<std::optional<int64_t>> Params::MaybeInt(std::string_view path, int64_t least,
                                                  int64_t most) const {
  PTG_TRY(const std::optional<std::string> text, MaybeText(path));
  if (!text) return std::nullopt;
  const std::string name = NameOf(path);
  int64_t value = 0;
  const char* end = text->data() + text->size();
  const auto [at, fault] = std::from_chars(text->data(), end, value);
  if (fault != std::errc() || at != end) {
    return Refuse("parameter_invalid_integer", "Invalid integer: " + *text, name);
  }
  if (value < least || value > most) {
    return Refuse("parameter_invalid_integer",
                  "This value must be between " + std::to_string(least) + " and " +
                      std::to_string(most) + ".",
                  name);
  }
  return value;
}

Answered<int64_t> Params::Int(std::string_view path, int64_t least, int64_t most) const {
  PTG_TRY(const std::optional<int64_t> value, MaybeInt(path, least, most));
  if (!value) return Missing(path);
  return *value;
}

Answered<std::optional<bool>> Params::MaybeBool(std::string_view path) const {
  PTG_TRY(const std::optional<std::string> text, MaybeText(path));
  if (!text) return std::nullopt;
  if (*text == "true" || *text == "false") return *text == "true";
  return Refuse("", "Invalid boolean: " + *text, NameOf(path));
}

Answered<std::optional<std::string>> Params::MaybeWord(
    std::string_view path, std::initializer_list<std::string_view> words) const {
  PTG_TRY(std::optional<std::string> text, MaybeText(path));
  if (!text || std::ranges::find(words, *text) != words.end()) return text;
  const std::string name = NameOf(path);
  std::string list;
  for (const std::string_view word : words) list.append(list.empty() ? "" : ", ").append(word);
  return Refuse("", "Invalid " + name + ": must be one of " + list, name);
}

Answered<Json> Params::Metadata(const Json& before) const {
  Json metadata = before.IsObject() ? before : Json::Object();
  const FormNode* found = Find("metadata");
  if (found == nullptr) return metadata;
  const std::string name = NameOf("metadata");
  if (found->text) {
    if (!found->text->empty()) return Refuse("", "Invalid object", name);
    return Json::Object();
  }
  for (const FormMember& member : found->members) {
    const std::string at = name + '[' + member.name + ']';
    if (!member.node.text) return Refuse("", "Metadata values must be strings.", at);
    if (member.node.text->empty()) {
      metadata.Remove(member.name);
    } else if (member.name.size() > kMaxMetadataKey) {
      return Refuse("", "Metadata keys can have up to 40 characters.", at);
    } else if (member.node.text->size() > kMaxMetadataValue) {
      return Refuse("", "Metadata values can have up to 500 characters.", at);
    } else {
      metadata.Set(member.name, *member.node.text);
    }
  }
  if (metadata.AsObject()->size() > kMaxMetadata) {
    return Refuse("", "Metadata can have up to 50 keys.", name);
  }
  return metadata;
}

}  // namespace pontage::sandbox::stripe
