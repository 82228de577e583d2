#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pontage::app {

struct TomlMember;

// A TOML document as plain values with the lines they stand on, so that one file alone knows the
// parser.
struct TomlNode {
  enum class Kind : uint8_t { kTable, kArray, kString, kInt, kBool, kOther };
  Kind kind = Kind::kTable;
  int line = 0;
  std::string text;  // kString: the value; kOther (floats, dates): as it was written
  int64_t number = 0;
  bool flag = false;
  std::vector<TomlNode> items;      // kArray
  std::vector<TomlMember> members;  // kTable, in the order of their lines

  TomlNode();
  TomlNode(TomlNode&&) noexcept;
  TomlNode& operator=(TomlNode&&) noexcept;
  ~TomlNode();

  // nullptr when this is no table or has no such member.
  const TomlNode* Find(std::string_view key) const;
  // As a reader would recognize it: "\"abc\"", "3", "true", "a table", "a list".
  std::string Shown() const;
};

struct TomlMember {
  std::string key;
  TomlNode value;
};

struct TomlSyntaxFault {
  int line = 0;
  std::string what;
};

// `text` is a whole document. Keys that appear twice are a fault of the syntax.
std::expected<TomlNode, TomlSyntaxFault> ParseToml(std::string_view text);

// The text with its control characters as TOML escapes them: words about a file hold what is in it,
// a line break for example.
std::string OnOneLine(std::string_view text);
// "text" with what TOML wants escaped.
std::string QuoteToml(std::string_view text);
// A key as it is written: bare where it may be, else quoted.
std::string ShownKey(std::string_view key);

}  // namespace pontage::app
