#include "base/money.h"

#include <cctype>

namespace pontage {

std::string Money::ToString() const {
  const bool negative = micros_ < 0;
  // Two's complement negation through unsigned, so that the smallest value works too.
  const uint64_t n =
      negative ? ~static_cast<uint64_t>(micros_) + 1 : static_cast<uint64_t>(micros_);
  std::string text = negative ? "$-" : "$";
  text += std::to_string(n / 1'000'000);
  std::string fraction = std::to_string(n % 1'000'000);
  fraction.insert(0, 6 - fraction.size(), '0');
  fraction.erase(fraction.find_last_not_of('0') + 1);
  if (!fraction.empty()) text += "." + fraction;
  return text;
}

Result<Money> ParseMoney(std::string_view text) {
  const std::string original(text);
  const auto bad = [&](const char* why) {
    return Fail(Error(Code::kConfig, "\"" + original + "\" " + why)
                    .Want("a decimal of US dollars with at most six decimals, like \"$0.001\""));
  };
  if (text.starts_with('$')) text.remove_prefix(1);
  if (text.ends_with(" USD")) text.remove_suffix(4);
  const size_t dot = text.find('.');
  const std::string_view whole = text.substr(0, dot);
  const std::string_view fraction = dot == text.npos ? "" : text.substr(dot + 1);
  if (whole.empty() || (dot != text.npos && fraction.empty())) return bad("is not an amount");
  if (fraction.size() > 6) return bad("has more than six decimals");
  int64_t micros = 0;
  const auto digit = [&](char c) {
    return std::isdigit(static_cast<unsigned char>(c)) != 0 &&
           !__builtin_mul_overflow(micros, int64_t{10}, &micros) &&
           !__builtin_add_overflow(micros, int64_t{c - '0'}, &micros);
  };
  for (const char c : whole) {
    if (!digit(c)) return bad("is not an amount");
  }
  for (size_t i = 0; i < 6; ++i) {
    if (!digit(i < fraction.size() ? fraction[i] : '0')) return bad("is not an amount");
  }
  return Money::Micros(micros);
}

}  // namespace pontage
