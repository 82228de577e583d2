#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"

namespace pontage::codec {

struct JsonMember;

// One JSON document: a tree of values. Object members keep the order in which they were written. A
// number is its text: it is never turned into a double, so what came in goes out again unchanged.
// Copies are deep; moves are cheap.
class Json {
  struct Bool {
    bool value;
  };
  struct Number {
    std::string text;
  };

 public:
  enum class Kind : uint8_t { kNull, kBool, kNumber, kString, kArray, kObject };

  Json();
  Json(const Json& other);
  Json(Json&& other) noexcept;
  Json& operator=(const Json& other);
  Json& operator=(Json&& other) noexcept;
  ~Json();

  // Conversions from what a document is made of: implicit, so that a literal reads like JSON.
  Json(std::nullptr_t);         // NOLINT
  Json(const char* text);       // NOLINT
  Json(std::string text);       // NOLINT
  Json(std::string_view text);  // NOLINT
  template <std::same_as<bool> B>
  Json(B b) : Json(Bool{b}) {}  // NOLINT
  template <std::integral N>
    requires(!std::same_as<N, bool> && !std::same_as<N, char>)
  Json(N n) : Json(Number{std::to_string(n)}) {}  // NOLINT

  // Json::Object({{"amount", "1000"}, {"maxTimeoutSeconds", 300}}); keys must differ.
  static Json Object(std::initializer_list<JsonMember> members = {});
  static Json Array(std::initializer_list<Json> items = {});
  static Json Array(std::vector<Json> items);

  Kind kind() const { return static_cast<Kind>(value_.index()); }
  bool IsNull() const { return kind() == Kind::kNull; }
  bool IsObject() const { return kind() == Kind::kObject; }
  bool IsArray() const { return kind() == Kind::kArray; }
  bool IsString() const { return kind() == Kind::kString; }

  // The value when it is of that kind, else nullptr / nullopt.
  const bool* AsBool() const { return std::get_if<bool>(&value_); }
  const std::string* AsString() const { return std::get_if<std::string>(&value_); }
  const std::vector<Json>* AsArray() const { return std::get_if<std::vector<Json>>(&value_); }
  const std::vector<JsonMember>* AsObject() const {
    return std::get_if<std::vector<JsonMember>>(&value_);
  }
  // nullopt also for a number that is written with a fraction or an exponent, or does not fit.
  std::optional<int64_t> AsInt64() const;
  std::optional<uint64_t> AsUint64() const;
  // The digits as they came; nullptr unless a number.
  const std::string* AsNumberText() const {
    const Number* n = std::get_if<Number>(&value_);
    return n ? &n->text : nullptr;
  }

  // The member of that name; nullptr when there is none or this is no object. A null member is
  // found: see JsonReader for "absent or null".
  const Json* Find(std::string_view key) const;
  Json* Find(std::string_view key);

  // Replaces the member of that name in its place or adds it at the end. On a null this makes an
  // object first; on any other kind it is a broken invariant. Returns *this.
  Json& Set(std::string key, Json value);
  // Takes the member away; false when there was none.
  bool Remove(std::string_view key);
  // Adds to the end of an array (or of a null, which becomes one). Returns *this.
  Json& Push(Json value);

  // Deep; the order of members does not count, the spelling of numbers does.
  friend bool operator==(const Json& a, const Json& b);

 private:
  explicit Json(Bool b);
  explicit Json(Number n);
  friend class JsonBuilder;  // json.cc: the parser's handler.
  std::variant<std::monostate, bool, Number, std::string, std::vector<Json>,
               std::vector<JsonMember>>
      value_;
};

struct JsonMember {
  std::string key;
  Json value;
};

// Below the member, because a variant looks into what it holds.
inline Json::Json() = default;
inline Json::Json(const Json& other) = default;
inline Json::Json(Json&& other) noexcept = default;
inline Json& Json::operator=(const Json& other) = default;
inline Json& Json::operator=(Json&& other) noexcept = default;
inline Json::~Json() = default;
inline Json::Json(Bool b) : value_(b.value) {}
inline Json::Json(Number n) : value_(std::move(n)) {}
inline Json::Json(std::nullptr_t) {}
inline Json::Json(const char* text) : value_(std::string(text)) {}
inline Json::Json(std::string text) : value_(std::move(text)) {}
inline Json::Json(std::string_view text) : value_(std::string(text)) {}

struct JsonLimits {
  // What a payment header may carry once decoded; raise it for bodies.
  size_t max_bytes = 64 << 10;
  // Nothing we speak goes deeper than a JSON Schema inside an extension; recursion over a document
  // is bounded by this.
  size_t max_depth = 32;
  // What a fault is reported as.
  Code fault = Code::kBadRequest;
};

// Exactly one document in UTF-8, white space around it allowed. Refuses a member that appears twice
// in one object (or one payment could be read in two ways), invalid UTF-8, lone surrogates,
// anything behind the document, and whatever is beyond `limits`. The error says what and at which
// byte.
Result<Json> ParseJson(std::string_view text, const JsonLimits& limits = {});

// Compact, members in their order, everything outside ASCII as UTF-8, control characters escaped
// (RFC 8259 §7). The same document gives the same bytes. Strings we built must be valid UTF-8.
std::string ToString(const Json& json);

// "a string", "an object": for the words of a fault.
std::string_view NameOf(Json::Kind kind);

// "/accepts/0" + '/' + key, with '~' and '/' escaped (RFC 6901 §3).
std::string ChildPointer(std::string_view pointer, std::string_view key);

// Reads the members of one object, and says where a fault is: every error carries the JSON pointer
// of the member and the form it should have. Looks into the document, which must outlive it, as
// must every string_view it gave.
//
// An optional member (Maybe…) that is null counts as absent, because the official clients write
// null there; a required one that is null is a fault.
class JsonReader {
 public:
  // Fails when `json` is no object. `pointer` is where it stands in the whole document.
  static Result<JsonReader> Of(const Json& json, Code fault = Code::kBadRequest,
                               std::string pointer = "");

  Result<std::string_view> String(std::string_view key) const;
  Result<std::optional<std::string_view>> MaybeString(std::string_view key) const;
  // Whole numbers that fit; 300.0 and 3e2 are faults.
  Result<int64_t> Int(std::string_view key) const;
  Result<std::optional<int64_t>> MaybeInt(std::string_view key) const;
  Result<bool> Bool(std::string_view key) const;
  Result<std::optional<bool>> MaybeBool(std::string_view key) const;
  Result<JsonReader> Object(std::string_view key) const;
  Result<std::optional<JsonReader>> MaybeObject(std::string_view key) const;
  // An array of objects, at most `max` of them.
  Result<std::vector<JsonReader>> Objects(std::string_view key, size_t max) const;
  Result<const std::vector<Json>*> Array(std::string_view key) const;
  // The member whatever it is, null included; fails when absent.
  Result<const Json*> Any(std::string_view key) const;
  // nullptr when absent or null.
  const Json* MaybeAny(std::string_view key) const;

  // A fault of the member `key` that only the caller can see: Fail(r.Bad("payTo", "…", "…")).
  Error Bad(std::string_view key, std::string detail, std::string want = "") const;
  // Moves an error that was made elsewhere (an address, an amount) to the member `key`: its text
  // and form are kept, code and pointer become this reader's.
  Error Place(std::string_view key, const Error& error) const;

  const Json& json() const { return *json_; }
  const std::string& pointer() const { return pointer_; }
  Code fault() const { return fault_; }

 private:
  JsonReader(const Json& json, Code fault, std::string pointer)
      : json_(&json), fault_(fault), pointer_(std::move(pointer)) {}
  Error Missing(std::string_view key, std::string want) const;
  Error WrongKind(std::string_view key, const Json& found, std::string want) const;

  const Json* json_;
  Code fault_;
  std::string pointer_;
};

}  // namespace pontage::codec
