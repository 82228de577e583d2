#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace pontage {

// An amount of US dollars in millionths; never a float, never a bare integer. Covers ±9.2 trillion
// dollars, so a sum that overflows is a bug or an attack and is refused, not wrapped.
class Money {
 public:
  constexpr Money() = default;
  static constexpr Money Micros(int64_t micros) { return Money(micros); }
  static constexpr Money Zero() { return Money(0); }

  constexpr int64_t micros() const { return micros_; }
  // "$0.001", "$29", "$-1.5": exact, no trailing zeros beyond what is there.
  std::string ToString() const;

  friend constexpr auto operator<=>(Money, Money) = default;
  // kInternal when the sum does not fit.
  friend Result<Money> Add(Money a, Money b) {
    int64_t sum = 0;
    if (__builtin_add_overflow(a.micros_, b.micros_, &sum)) {
      return Fail(Code::kInternal, "amount overflows");
    }
    return Money(sum);
  }

 private:
  constexpr explicit Money(int64_t micros) : micros_(micros) {}
  int64_t micros_ = 0;
};

// "$0.001", "0.001" or "0.10 USD" as an exact amount of at most six decimals and not negative.
// Fails with kConfig, naming the form that is right; nothing is rounded.
Result<Money> ParseMoney(std::string_view text);

}  // namespace pontage
