#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/money.h"
#include "chain/registry.h"
#include "codec/json.h"
#include "crypto/evm_address.h"
#include "wire/x402/types.h"

// What an agent is asked to pay, and what it may. Pure: nothing here signs, sends or waits.
namespace pontage::buyer {

// What a 402 asks for. The JSON is kept as it came, because what a buyer accepts he echoes
// unchanged.
struct Offer {
  int version = 2;
  std::string error;  // why the seller refused, in his words
  std::vector<codec::Json> accepts;
  codec::Json resource;    // version 2; null when absent
  codec::Json extensions;  // version 2; null when absent
};
// More ways to pay than this in one 402 are not looked at.
inline constexpr size_t kMaxAccepts = 64;

// Reads a 402: the PAYMENT-REQUIRED header when there is one, else a version 1 body.
// kPaymentRequired when neither is there or neither can be read.
Result<Offer> ReadOffer(std::optional<std::string_view> header, std::string_view body);

// What the buyer allows. Every list that is empty allows all.
struct Policy {
  Money max = Money::Micros(1'000'000);  // for one call; what official clients allow
  std::vector<chain::ChainId> networks;
  std::vector<crypto::EvmAddress> assets;
  std::vector<std::string> hosts;
};

// kBuyerPolicy when the host is pinned and this is another one.
Result<> CheckHost(const Policy& policy, std::string_view host);

// One way to pay that can be paid and may be.
struct Choice {
  size_t index = 0;  // in Offer::accepts
  x402::Requirements requirements;
  chain::EvmAsset asset;
  crypto::EvmAddress pay_to;
  Money price;  // of the amount, rounded up to a millionth
};

// The first entry that this buyer understands and may pay, those that are settled after the work
// before those settled first. Unknown schemes, networks, flows and assets are passed over, and so
// is a known asset whose EIP-712 domain is not the one it has on the chain: a signature over it
// would pay nobody. When nothing is left the error is the one of the entry that came furthest:
// kPaymentScheme, kPaymentNetwork, kPaymentAsset, kPaymentDomain, or kBuyerPolicy with the price
// and the limit.
Result<Choice> Choose(const Offer& offer, const chain::AssetRegistry& assets, const Policy& policy);

// What `amount` of a dollar token is worth, rounded up; nullopt when beyond what Money holds.
std::optional<Money> Worth(const codec::Uint256& amount, uint8_t decimals);

}  // namespace pontage::buyer
