#pragma once

#include <compare>
#include <string>
#include <string_view>
#include <utility>

#include "base/rng.h"
#include "base/time.h"

namespace pontage {

// A name of one thing, as text. Ids of different kinds do not convert into each other.
template <typename Tag>
class Id {
 public:
  Id() = default;
  explicit Id(std::string text) : text_(std::move(text)) {}
  const std::string& str() const { return text_; }
  bool empty() const { return text_.empty(); }
  friend auto operator<=>(const Id&, const Id&) = default;

 private:
  std::string text_;
};

using RequestId = Id<struct RequestTag>;          // "req_…": one HTTP exchange, X-Request-Id
using ReservationId = Id<struct ReservationTag>;  // "pay_…": one row of the ledger
using TenantId = Id<struct TenantTag>;

// `prefix` + '_' + a UUIDv7 in 32 hex digits: sorts by the time it was made (RFC 9562 §5.7).
std::string NewIdText(std::string_view prefix, const Clock& clock, Rng& rng);

}  // namespace pontage
