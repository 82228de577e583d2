#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

#include "net/message.h"

namespace pontage::net {

// Some names of header fields. Whether one is among them is asked of every field of every message,
// and nearly always the answer is no, which its size alone tells most times.
template <size_t N>
class NameSet {
 public:
  template <typename... Names>
  explicit constexpr NameSet(Names... names) : names_{std::string_view(names)...} {
    for (const std::string_view name : names_) sizes_ |= uint64_t{1} << name.size();
  }

  bool Has(std::string_view name) const {
    if (name.size() >= 64 || (sizes_ >> name.size() & 1) == 0) return false;
    return std::ranges::any_of(names_,
                               [name](std::string_view one) { return EqualsNoCase(one, name); });
  }

 private:
  std::array<std::string_view, N> names_;
  uint64_t sizes_ = 0;
};
template <typename... Names>
NameSet(Names...) -> NameSet<sizeof...(Names)>;

}  // namespace pontage::net
