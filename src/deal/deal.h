#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/money.h"
#include "base/time.h"
#include "codec/json.h"
#include "codec/uint256.h"

// The values of one paid call, in the order they are born. Each stage takes what the stages before
// it returned; nothing here does anything.
namespace pontage::deal {

// What one request costs, and what it is: born from a route and a head. Views look into the route
// snapshot and the request, which outlive the exchange.
struct Quote {
  size_t route = 0;             // index in the snapshot's table
  std::string_view route_name;  // its match text
  std::string_view description;
  std::string_view mime_type;
  Money price;
  bool free = false;
  std::string method;        // as sent; HEAD stays HEAD
  std::string resource;      // canonical path and query: what the payment is bound to
  std::string target;        // path and query as the seller's work gets them
  std::string resource_url;  // the same behind the configured public URL
};

// Something in the request that claims to pay for it. Found, not judged.
struct Credential {
  std::string_view rail;  // "x402"
  int version = 0;        // of its protocol
  std::string value;      // the header's value
};

// Verified: who pays, for what, up to how much. Moves no money. Payload and requirement are JSON
// and enough to settle without the request.
struct Grant {
  std::string_view rail;
  int version = 0;
  std::string scheme;
  std::string network;  // CAIP-2
  std::string asset;
  std::string payer;
  std::string pay_to;
  std::string nonce;
  codec::Uint256 most;  // atomic units
  std::array<uint8_t, 32> once_key{};
  UnixMs valid_before;
  // How long before that collecting must have begun.
  Millis settle_needs{0};
  std::string payload;
  std::string requirement;
};

// For which sale a grant is collected, and whether it may have been collected before.
struct Asking {
  // Names the sale in the books of whoever asks: the same whenever he asks for it again, and nobody
  // else's. Looks into the caller's row. Empty: he has no books.
  std::string_view sale = {};
  // An earlier call may have been made whose end nobody saw (a lost answer, a crash): then that it
  // is refused now says nothing about the money.
  bool again = false;
};

// What became of collecting a grant.
struct Settlement {
  enum class Outcome : uint8_t {
    kSettled,  // the money moved
    kRefused,  // it did not and will not by this call
    kUnknown,  // it may have moved or may still
  };
  Outcome outcome = Outcome::kUnknown;
  std::string transaction;  // hash; perhaps empty unless settled
  std::string receipt;      // JSON of the rail's receipt, of a failure too: what the buyer is shown
  std::string reason;       // the protocol's word for a failure
};

// What a refusal offers: each rail adds its members to the body's one object and its headers.
struct Challenge {
  codec::Json members = codec::Json::Object();
  std::vector<std::pair<std::string, std::string>> headers;
  bool plain_json = false;  // application/json instead of application/problem+json
};

}  // namespace pontage::deal
