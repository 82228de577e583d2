#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"
#include "base/try.h"
#include "codec/json.h"
#include "wire/stripe/values.h"

// For the readers of this folder: members as Stripe writes them.
namespace pontage::stripe::read {

using codec::Json;
using codec::JsonReader;

// The member "object" must say `want`.
inline Result<> CheckKind(const JsonReader& r, std::string_view want) {
  PTG_TRY(const std::string_view kind, r.String("object"));
  if (kind == want) return {};
  return Fail(r.Bad("object", "is another kind of object than was asked for", std::string(want)));
}

// The same of what stands inside another object, where its place says already what it is.
inline Result<> CheckPart(const JsonReader& r, std::string_view want) {
  return r.MaybeAny("object") == nullptr ? Result<>() : CheckKind(r, want);
}

template <typename IdType>
Result<IdType> IdAt(const JsonReader& r, std::string_view key) {
  PTG_TRY(const std::string_view text, r.String(key));
  if (text.empty()) return Fail(r.Bad(key, std::string(key) + " is empty", "an id"));
  return IdType(std::string(text));
}

// An id, or the object itself where the request asked to expand it; empty when absent or null.
template <typename IdType>
Result<IdType> RefAt(const JsonReader& r, std::string_view key) {
  const Json* found = r.MaybeAny(key);
  if (found == nullptr) return IdType();
  if (!found->IsObject()) return IdAt<IdType>(r, key);
  PTG_TRY(const JsonReader inner, r.Object(key));
  return IdAt<IdType>(inner, "id");
}

// "" when absent or null.
inline Result<std::string> TextAt(const JsonReader& r, std::string_view key) {
  PTG_TRY(const std::optional<std::string_view> text, r.MaybeString(key));
  return std::string(text.value_or(""));
}

inline Result<bool> FlagAt(const JsonReader& r, std::string_view key) {
  PTG_TRY(const std::optional<bool> flag, r.MaybeBool(key));
  return flag.value_or(false);
}

inline Result<std::optional<UnixMs>> MaybeTimeAt(const JsonReader& r, std::string_view key) {
  PTG_TRY(const std::optional<int64_t> seconds, r.MaybeInt(key));
  if (!seconds) return std::nullopt;
  return UnixMs::FromSeconds(*seconds);
}

inline Result<UnixMs> TimeAt(const JsonReader& r, std::string_view key) {
  PTG_TRY(const int64_t seconds, r.Int(key));
  return UnixMs::FromSeconds(seconds);
}

inline Result<MinorUnits> AmountAt(const JsonReader& r, std::string_view key) {
  PTG_TRY(const int64_t count, r.Int(key));
  return MinorUnits(count);
}

// Zero when absent or null.
inline Result<MinorUnits> MaybeAmountAt(const JsonReader& r, std::string_view key) {
  PTG_TRY(const std::optional<int64_t> count, r.MaybeInt(key));
  return MinorUnits(count.value_or(0));
}

// An empty word, which means kUnknown, when absent or null.
template <typename E>
Result<Word<E>> WordAt(const JsonReader& r, std::string_view key) {
  PTG_TRY(const std::optional<std::string_view> text, r.MaybeString(key));
  return WordOf<E>(text.value_or(""));
}

}  // namespace pontage::stripe::read
