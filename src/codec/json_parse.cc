// The parser: Boost.JSON's grammar (basic_parser) under a handler of our own, because its own
// handler keeps the last of duplicate members in silence and turns numbers into doubles. Headers
// only, compiled here once.
#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <vector>

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/src.hpp>

#include "codec/json.h"
#include "codec/json_visit.h"

namespace pontage::codec {

namespace bj = boost::json;

// Below this many members a walk finds a duplicate faster than a set does.
constexpr size_t kFewMembers = 24;
// Objects of a few members get their room at once.
constexpr size_t kUsualMembers = 8;
// How much of a member's name an error repeats.
constexpr size_t kMaxNameInText = 64;

// What Boost.JSON asks of every handler, and ours have no use for: sizes are bounded by that of the
// text, and a comment is a syntax error.
class JsonHandler {
 public:
  static constexpr size_t max_object_size = static_cast<size_t>(-1);
  static constexpr size_t max_array_size = static_cast<size_t>(-1);
  static constexpr size_t max_key_size = static_cast<size_t>(-1);
  static constexpr size_t max_string_size = static_cast<size_t>(-1);

  static bool on_document_begin(bj::error_code&) { return true; }
  static bool on_document_end(bj::error_code&) { return true; }
  static bool on_comment_part(bj::string_view, bj::error_code&) { return true; }
  static bool on_comment(bj::string_view, bj::error_code&) { return true; }
};

// Builds the tree in place. The pointers to the open containers stay good, because a container's
// elements move only when a sibling is added, and by then it is closed.
class JsonBuilder : public JsonHandler {
 public:
  Json TakeRoot() { return std::move(root_); }
  // The member that appeared twice; empty text with `twice()` false when none did.
  const std::string& duplicate() const { return key_; }
  bool twice() const { return twice_; }

  bool on_array_begin(bj::error_code&) {
    Json& made = Add();
    made.value_.emplace<std::vector<Json>>();
    open_.push_back(&made);
    return true;
  }
  bool on_array_end(size_t, bj::error_code&) {
    open_.pop_back();
    return true;
  }
  bool on_object_begin(bj::error_code&) {
    Json& made = Add();
    made.value_.emplace<std::vector<JsonMember>>();
    open_.push_back(&made);
    return true;
  }
  bool on_object_end(size_t, bj::error_code& ec) {
    const std::vector<JsonMember>& members = *open_.back()->AsObject();
    open_.pop_back();
    return members.size() <= kFewMembers || NoneTwice(members, ec);
  }
  bool on_string_part(bj::string_view s, size_t, bj::error_code&) {
    text_.append(s.data(), s.size());
    return true;
  }
  bool on_string(bj::string_view s, size_t, bj::error_code&) {
    Add().value_.emplace<std::string>(TakeText(s));
    return true;
  }
  bool on_key_part(bj::string_view s, size_t, bj::error_code&) {
    key_.append(s.data(), s.size());
    return true;
  }
  bool on_key(bj::string_view s, size_t, bj::error_code& ec) {
    key_.append(s.data(), s.size());
    const std::vector<JsonMember>& members = *open_.back()->AsObject();
    if (members.size() > kFewMembers) return true;  // Looked at when the object ends.
    for (const JsonMember& member : members) {
      if (member.key.size() == key_.size() && member.key == key_) return Twice(ec);
    }
    return true;
  }
  bool on_number_part(bj::string_view s, bj::error_code&) {
    text_.append(s.data(), s.size());
    return true;
  }
  bool on_int64(int64_t, bj::string_view s, bj::error_code&) { return AddNumber(s); }
  bool on_uint64(uint64_t, bj::string_view s, bj::error_code&) { return AddNumber(s); }
  bool on_double(double, bj::string_view s, bj::error_code&) { return AddNumber(s); }
  bool on_bool(bool b, bj::error_code&) {
    Add().value_.emplace<bool>(b);
    return true;
  }
  bool on_null(bj::error_code&) {
    Add();
    return true;
  }

 private:
  bool AddNumber(bj::string_view s) {
    Add().value_.emplace<Json::Number>(TakeText(s));
    return true;
  }

  // What came in parts, and its end; mostly there are none.
  std::string TakeText(bj::string_view end) {
    if (text_.empty()) return {end.data(), end.size()};
    text_.append(end.data(), end.size());
    return std::exchange(text_, {});
  }

  // A null in the place that comes next: its owner makes of it what it is.
  Json& Add() {
    if (open_.empty()) return root_;
    Json& parent = *open_.back();
    if (auto* members = std::get_if<std::vector<JsonMember>>(&parent.value_)) {
      if (members->empty()) members->reserve(kUsualMembers);
      JsonMember& member = members->emplace_back();
      member.key.swap(key_);
      return member.value;
    }
    return std::get<std::vector<Json>>(parent.value_).emplace_back();
  }

  bool NoneTwice(const std::vector<JsonMember>& members, bj::error_code& ec) {
    std::unordered_set<std::string_view> seen;
    seen.reserve(members.size());
    for (const JsonMember& member : members) {
      if (seen.insert(member.key).second) continue;
      key_ = member.key;
      return Twice(ec);
    }
    return true;
  }

  bool Twice(bj::error_code& ec) {
    twice_ = true;
    ec = bj::make_error_code(bj::error::exception);
    return false;
  }

  Json root_;
  std::vector<Json*> open_;
  std::string key_;   // Of the member whose value comes next.
  std::string text_;  // Of the string or number that is being read.
  bool twice_ = false;
};

// Hands what the parser finds to a visitor. Text that has escapes comes in parts.
class JsonGuide : public JsonHandler {
 public:
  explicit JsonGuide(JsonVisitor& visitor) : visitor_(visitor) {}

  bool on_array_begin(bj::error_code& ec) { return Go(visitor_.Open(Json::Kind::kArray), ec); }
  bool on_array_end(size_t, bj::error_code& ec) { return Go(visitor_.Close(), ec); }
  bool on_object_begin(bj::error_code& ec) { return Go(visitor_.Open(Json::Kind::kObject), ec); }
  bool on_object_end(size_t, bj::error_code& ec) { return Go(visitor_.Close(), ec); }
  bool on_string_part(bj::string_view s, size_t, bj::error_code&) { return AddPart(s); }
  bool on_string(bj::string_view s, size_t, bj::error_code& ec) {
    return Value(Json::Kind::kString, s, ec);
  }
  bool on_key_part(bj::string_view s, size_t, bj::error_code&) { return AddPart(s); }
  bool on_key(bj::string_view s, size_t, bj::error_code& ec) {
    const bool go_on = visitor_.Name(Whole(s));
    parts_.clear();
    return Go(go_on, ec);
  }
  bool on_number_part(bj::string_view s, bj::error_code&) { return AddPart(s); }
  bool on_int64(int64_t, bj::string_view s, bj::error_code& ec) { return Number(s, ec); }
  bool on_uint64(uint64_t, bj::string_view s, bj::error_code& ec) { return Number(s, ec); }
  bool on_double(double, bj::string_view s, bj::error_code& ec) { return Number(s, ec); }
  bool on_bool(bool b, bj::error_code& ec) {
    return Value(Json::Kind::kBool, b ? "true" : "false", ec);
  }
  bool on_null(bj::error_code& ec) { return Value(Json::Kind::kNull, "null", ec); }

 private:
  bool AddPart(bj::string_view s) {
    parts_.append(s.data(), s.size());
    return true;
  }
  std::string_view Whole(bj::string_view end) {
    if (parts_.empty()) return {end.data(), end.size()};
    AddPart(end);
    return parts_;
  }
  bool Number(bj::string_view s, bj::error_code& ec) { return Value(Json::Kind::kNumber, s, ec); }
  bool Value(Json::Kind kind, bj::string_view s, bj::error_code& ec) {
    const bool go_on = visitor_.Value(kind, Whole(s));
    parts_.clear();
    return Go(go_on, ec);
  }
  static bool Go(bool on, bj::error_code& ec) {
    if (!on) ec = bj::make_error_code(bj::error::exception);
    return on;
  }

  JsonVisitor& visitor_;
  std::string parts_;
};

namespace {

std::string Describe(const bj::error_code& ec, std::string_view text, size_t at,
                     const JsonLimits& limits) {
  const std::string where = " at byte " + std::to_string(at);
  if (ec == bj::error::incomplete) return "ends too soon";
  if (ec == bj::error::extra_data) return "something stands behind the document" + where;
  if (ec == bj::error::too_deep) {
    return "nested deeper than " + std::to_string(limits.max_depth) + where;
  }
  if (ec == bj::error::exponent_overflow) return "a number beyond measure" + where;
  if (ec == bj::error::illegal_leading_surrogate || ec == bj::error::illegal_trailing_surrogate ||
      ec == bj::error::expected_utf16_escape) {
    return "half a surrogate pair" + where;
  }
  if (at < text.size() && static_cast<unsigned char>(text[at]) >= 0x80) {
    return "no valid UTF-8" + where;
  }
  return "a syntax error" + where;
}

std::unexpected<Error> Fault(const JsonLimits& limits, const std::string& why) {
  return Fail(Error(limits.fault, "not the JSON we read: " + why)
                  .Want("one JSON document (RFC 8259), no member twice"));
}

std::unexpected<Error> TooLong(const JsonLimits& limits) {
  return Fault(limits, "longer than " + std::to_string(limits.max_bytes) + " bytes");
}

// The whole of `text`, as what the parser has for a handler sees it; a fault's words, or nothing.
template <class Handler>
std::string Lead(bj::basic_parser<Handler>& parser, std::string_view text,
                 const JsonLimits& limits) {
  bj::error_code ec;
  const size_t read = parser.write_some(false, text.data(), text.size(), ec);
  if (!ec && read < text.size()) ec = bj::make_error_code(bj::error::extra_data);
  return ec ? Describe(ec, text, read, limits) : std::string();
}

bj::parse_options OptionsOf(const JsonLimits& limits) {
  bj::parse_options options;
  options.max_depth = limits.max_depth;
  return options;
}

}  // namespace

Result<> VisitJson(std::string_view text, const JsonLimits& limits, JsonVisitor& visitor) {
  if (text.size() > limits.max_bytes) return TooLong(limits);
  bj::basic_parser<JsonGuide> parser(OptionsOf(limits), visitor);
  const std::string why = Lead(parser, text, limits);
  if (!why.empty()) return Fault(limits, why);
  return {};
}

Result<Json> ParseJson(std::string_view text, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) return TooLong(limits);
  bj::basic_parser<JsonBuilder> parser(OptionsOf(limits));
  const std::string why = Lead(parser, text, limits);
  JsonBuilder& built = parser.handler();
  if (built.twice()) {
    return Fault(
        limits, "the member \"" + built.duplicate().substr(0, kMaxNameInText) + "\" appears twice");
  }
  if (!why.empty()) return Fault(limits, why);
  return built.TakeRoot();
}

}  // namespace pontage::codec
