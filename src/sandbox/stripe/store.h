#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "codec/json.h"

namespace pontage::sandbox::stripe {

enum class Kind : uint8_t {
  kCustomer,
  kProduct,
  kPrice,
  kPaymentMethod,
  kSession,
  kSubscription,
  kInvoice,
  kInvoicePayment,
  kPaymentIntent,
  kCharge,
  kRefund,
  kDispute,
  kPortalConfiguration,
  kPortalSession,
  kWebhookEndpoint,
  kCount,
};
// As Stripe's errors and the member `object` name it: "checkout.session".
std::string_view ObjectName(Kind kind);
// Where its objects stand: "/v1/checkout/sessions".
std::string_view PathOf(Kind kind);

// The objects of one account, each as the document that goes over the wire. An object's address
// stays as long as it is there.
class Store {
 public:
  // Each takes some 8 KiB: half a gigabyte at worst, of a sandbox that somebody forgot.
  static constexpr size_t kMaxObjects = 60'000;

  // `object` has an id that is new.
  codec::Json& Add(Kind kind, codec::Json object);
  codec::Json* Find(Kind kind, std::string_view id);
  const codec::Json* Find(Kind kind, std::string_view id) const;
  // Of whatever kind.
  const codec::Json* FindAny(std::string_view id) const;
  void Remove(Kind kind, std::string_view id);

  // In the order in which they were made.
  const std::vector<std::string>& ids(Kind kind) const { return order_[static_cast<size_t>(kind)]; }
  size_t size() const { return objects_.size(); }
  // Nothing more may be made by a request; what the clock makes of what is there stops growing too.
  bool full() const { return objects_.size() >= kMaxObjects; }

 private:
  struct Entry {
    Kind kind;
    codec::Json object;
  };
  std::map<std::string, Entry, std::less<>> objects_;
  std::array<std::vector<std::string>, static_cast<size_t>(Kind::kCount)> order_;
};

}  // namespace pontage::sandbox::stripe
