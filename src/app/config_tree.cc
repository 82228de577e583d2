#include "app/config_tree.h"

#include <algorithm>
#include <sstream>
#include <tuple>

namespace pontage::app {
namespace {
// The parser of Debian 12 trips over its own assertions on some broken documents (a bare carriage
// return inside an inline table is one). That is a fault of the document, not the end of us.
struct ParserTripped {};
}  // namespace
}  // namespace pontage::app

// Results instead of exceptions, but for the above.
#define TOML_EXCEPTIONS 0
#define TOML_ASSERT(expr)                               \
  do {                                                  \
    if (!(expr)) throw ::pontage::app::ParserTripped(); \
  } while (false)
#include <toml++/toml.h>

namespace pontage::app {
namespace {

// Values longer than this are cut when a fault shows them.
constexpr size_t kShownBytes = 80;

TomlNode Convert(const toml::node& node);

void ConvertTable(const toml::table& table, TomlNode& to) {
  for (const auto& [key, value] : table) {
    to.members.push_back({std::string(key.str()), Convert(value)});
    // The place of the key is the better one: a table made by its children has none itself.
    TomlNode& made = to.members.back().value;
    if (key.source().begin.line > 0) made.line = static_cast<int>(key.source().begin.line);
  }
  // Those of one line by their names.
  std::ranges::sort(to.members, [](const TomlMember& a, const TomlMember& b) {
    return std::tie(a.value.line, a.key) < std::tie(b.value.line, b.key);
  });
}

TomlNode Convert(const toml::node& node) {
  TomlNode to;
  to.line = static_cast<int>(node.source().begin.line);
  if (const toml::table* table = node.as_table()) {
    ConvertTable(*table, to);
  } else if (const toml::array* array = node.as_array()) {
    to.kind = TomlNode::Kind::kArray;
    for (const toml::node& item : *array) to.items.push_back(Convert(item));
  } else if (const auto* text = node.as_string()) {
    to.kind = TomlNode::Kind::kString;
    to.text = text->get();
  } else if (const auto* number = node.as_integer()) {
    to.kind = TomlNode::Kind::kInt;
    to.number = number->get();
  } else if (const auto* flag = node.as_boolean()) {
    to.kind = TomlNode::Kind::kBool;
    to.flag = flag->get();
  } else {
    to.kind = TomlNode::Kind::kOther;
    std::ostringstream out;
    node.visit([&out](const auto& value) { out << value; });
    to.text = out.str();
  }
  return to;
}

}  // namespace

TomlNode::TomlNode() = default;
TomlNode::TomlNode(TomlNode&&) noexcept = default;
TomlNode& TomlNode::operator=(TomlNode&&) noexcept = default;
TomlNode::~TomlNode() = default;

const TomlNode* TomlNode::Find(std::string_view key) const {
  for (const auto& [name, value] : members) {
    if (name == key) return &value;
  }
  return nullptr;
}

std::string TomlNode::Shown() const {
  switch (kind) {
    case Kind::kTable:
      return "a table";
    case Kind::kArray:
      return items.empty() ? "an empty list" : "a list";
    case Kind::kString:
      return QuoteToml(text.size() > kShownBytes ? text.substr(0, kShownBytes) + "…" : text);
    case Kind::kInt:
      return std::to_string(number);
    case Kind::kBool:
      return flag ? "true" : "false";
    case Kind::kOther:
      return text;
  }
  return {};
}

std::expected<TomlNode, TomlSyntaxFault> ParseToml(std::string_view text) {
  try {
    const toml::parse_result result = toml::parse(text);
    if (!result) {
      const toml::parse_error& error = result.error();
      return std::unexpected(TomlSyntaxFault{.line = static_cast<int>(error.source().begin.line),
                                             .what = std::string(error.description())});
    }
    TomlNode root;
    ConvertTable(result.table(), root);
    return root;
  } catch (const ParserTripped&) {
    return std::unexpected(TomlSyntaxFault{.what = "the document cannot be parsed"});
  }
}

std::string QuoteToml(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      constexpr std::string_view kHex = "0123456789abcdef";
      out += "\\u00";
      out += kHex[static_cast<unsigned char>(c) >> 4];
      out += kHex[static_cast<unsigned char>(c) & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string ShownKey(std::string_view key) {
  const bool bare = !key.empty() && std::ranges::all_of(key, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
  return bare ? std::string(key) : QuoteToml(key);
}

}  // namespace pontage::app
