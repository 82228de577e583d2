#include "base/try.h"
#include "codec/json.h"

namespace pontage::codec {
namespace {

constexpr char kString[] = "a string";
constexpr char kInt[] = "a whole number";
constexpr char kBool[] = "true or false";
constexpr char kObject[] = "an object";
constexpr char kArray[] = "an array";

}  // namespace

std::string_view NameOf(Json::Kind kind) {
  switch (kind) {
    case Json::Kind::kNull:
      return "null";
    case Json::Kind::kBool:
      return "a boolean";
    case Json::Kind::kNumber:
      return "a number";
    case Json::Kind::kString:
      return "a string";
    case Json::Kind::kArray:
      return "an array";
    case Json::Kind::kObject:
      return "an object";
  }
  return "nothing";
}

Result<JsonReader> JsonReader::Of(const Json& json, Code fault, std::string pointer) {
  if (!json.IsObject()) {
    return Fail(Error(fault, "is " + std::string(NameOf(json.kind())) + ", not an object")
                    .At(std::move(pointer))
                    .Want(kObject));
  }
  return JsonReader(json, fault, std::move(pointer));
}

Error JsonReader::Bad(std::string_view key, std::string detail, std::string want) const {
  return Error(fault_, std::move(detail)).At(ChildPointer(pointer_, key)).Want(std::move(want));
}

Error JsonReader::Place(std::string_view key, const Error& error) const {
  return Bad(key, std::string(key) + ": " + error.detail(), error.expected());
}

Error JsonReader::Missing(std::string_view key, std::string want) const {
  return Bad(key, std::string(key) + " is missing", std::move(want));
}

Error JsonReader::WrongKind(std::string_view key, const Json& found, std::string want) const {
  return Bad(key, std::string(key) + " is " + std::string(NameOf(found.kind())) + ", not " + want,
             want);
}

Result<const Json*> JsonReader::Any(std::string_view key) const {
  const Json* found = json_->Find(key);
  if (found == nullptr) return Fail(Missing(key, "any value"));
  return found;
}

const Json* JsonReader::MaybeAny(std::string_view key) const {
  const Json* found = json_->Find(key);
  return found == nullptr || found->IsNull() ? nullptr : found;
}

Result<std::optional<std::string_view>> JsonReader::MaybeString(std::string_view key) const {
  const Json* found = MaybeAny(key);
  if (found == nullptr) return std::nullopt;
  const std::string* text = found->AsString();
  if (text == nullptr) return Fail(WrongKind(key, *found, kString));
  return std::string_view(*text);
}

Result<std::string_view> JsonReader::String(std::string_view key) const {
  PTG_TRY(const std::optional<std::string_view> found, MaybeString(key));
  if (!found) return Fail(Missing(key, kString));
  return *found;
}

Result<std::optional<int64_t>> JsonReader::MaybeInt(std::string_view key) const {
  const Json* found = MaybeAny(key);
  if (found == nullptr) return std::nullopt;
  const std::optional<int64_t> n = found->AsInt64();
  if (n) return n;
  if (const std::string* digits = found->AsNumberText()) {
    return Fail(Bad(key, std::string(key) + " is " + digits->substr(0, 32), kInt));
  }
  return Fail(WrongKind(key, *found, kInt));
}

Result<int64_t> JsonReader::Int(std::string_view key) const {
  PTG_TRY(const std::optional<int64_t> found, MaybeInt(key));
  if (!found) return Fail(Missing(key, kInt));
  return *found;
}

Result<std::optional<bool>> JsonReader::MaybeBool(std::string_view key) const {
  const Json* found = MaybeAny(key);
  if (found == nullptr) return std::nullopt;
  const bool* b = found->AsBool();
  if (b == nullptr) return Fail(WrongKind(key, *found, kBool));
  return *b;
}

Result<bool> JsonReader::Bool(std::string_view key) const {
  PTG_TRY(const std::optional<bool> found, MaybeBool(key));
  if (!found) return Fail(Missing(key, kBool));
  return *found;
}

Result<std::optional<JsonReader>> JsonReader::MaybeObject(std::string_view key) const {
  const Json* found = MaybeAny(key);
  if (found == nullptr) return std::nullopt;
  if (!found->IsObject()) return Fail(WrongKind(key, *found, kObject));
  return JsonReader(*found, fault_, ChildPointer(pointer_, key));
}

Result<JsonReader> JsonReader::Object(std::string_view key) const {
  PTG_TRY(std::optional<JsonReader> found, MaybeObject(key));
  if (!found) return Fail(Missing(key, kObject));
  return *std::move(found);
}

Result<const std::vector<Json>*> JsonReader::Array(std::string_view key) const {
  const Json* found = MaybeAny(key);
  if (found == nullptr) return Fail(Missing(key, kArray));
  const std::vector<Json>* items = found->AsArray();
  if (items == nullptr) return Fail(WrongKind(key, *found, kArray));
  return items;
}

Result<std::vector<JsonReader>> JsonReader::Objects(std::string_view key, size_t max) const {
  PTG_TRY(const std::vector<Json>* items, Array(key));
  if (items->size() > max) {
    return Fail(Bad(key, std::string(key) + " has " + std::to_string(items->size()) + " items",
                    "at most " + std::to_string(max)));
  }
  const std::string here = ChildPointer(pointer_, key);
  std::vector<JsonReader> readers;
  readers.reserve(items->size());
  for (size_t i = 0; i < items->size(); ++i) {
    PTG_TRY(JsonReader reader, Of((*items)[i], fault_, ChildPointer(here, std::to_string(i))));
    readers.push_back(std::move(reader));
  }
  return readers;
}

}  // namespace pontage::codec
