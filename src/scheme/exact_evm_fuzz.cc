#include <algorithm>
#include <string>
#include <vector>

#include "base/check.h"
#include "codec/hex.h"
#include "codec/json.h"
#include "scheme/exact_evm.h"
#include "testing/fuzz.h"

// The `payload` of a payment: however an authorization is spelled it has one once-key and one
// digest, and of all payloads in the world only the one that the payer signed, to this seller and
// of this price, is good.
namespace pontage::scheme {
namespace {

using codec::Json;

constexpr int64_t kNow = 1'800'000'000;
// A test key of everybody's; it signed `good` in test/corpus/exact_evm and, on other terms,
// signed_….
constexpr std::string_view kPayer = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
constexpr std::string_view kNonce =
    "0xf3746613c2d920b5fdabc0856f2aeb2d4f88ee6037b8cc5d04a71a4462f13480";

const ExactEvmTerms& Terms() {
  static const ExactEvmTerms terms = [] {
    x402::Requirements q;
    q.scheme = "exact";
    q.network = "eip155:84532";
    q.amount = codec::Uint256(10'000);
    q.asset = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
    q.pay_to = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C";
    q.max_timeout_s = 60;
    q.extra = Json::Object({{"name", "USDC"}, {"version", "2"}});
    return *ReadTerms(q, chain::AssetRegistry::WithDefaults());
  }();
  return terms;
}

ExactEvm Offered(ExactEvmPayload payload) {
  return {.scheme = "exact",
          .chain = Terms().chain,
          .payload = std::move(payload),
          .want = Terms(),
          .now_s = kNow,
          .facts = std::nullopt};
}

// Hex digits in the other case, members the other way round, and one more of them.
Json Respelled(const Json& json) {
  if (const std::string* text = json.AsString()) {
    std::string other = *text;
    for (size_t i = 2; i < other.size() && other.starts_with("0x"); ++i) {
      const bool upper = other[i] >= 'A' && other[i] <= 'F';
      const bool lower = other[i] >= 'a' && other[i] <= 'f';
      if (upper || lower) other[i] = static_cast<char>(other[i] ^ 0x20);
    }
    return Json(other);
  }
  const auto* members = json.AsObject();
  if (members == nullptr) return json;
  Json out = Json::Object();
  for (size_t i = members->size(); i-- > 0;) {
    out.Set(members->at(i).key, Respelled(members->at(i).value));
  }
  if (!out.Find("one more")) out.Set("one more", Json::Array({1, nullptr}));
  return out;
}

codec::Bytes32 KeyOf(const ExactEvmPayload& p) {
  return OnceKey(Terms().chain, Terms().asset, p.auth.from, p.auth.nonce);
}

}  // namespace

FUZZ_TARGET(exact_evm) {
  const auto json = codec::ParseJson(input);
  if (!json) return;
  const auto payload = ParseExactEvm(*json);
  const auto other = ParseExactEvm(Respelled(*json));
  PTG_CHECK(payload.has_value() == other.has_value());
  if (!payload) {
    const Code code = payload.error().code();
    PTG_CHECK(code == Code::kPaymentMalformed || code == Code::kPaymentTransfer ||
              code == Code::kPaymentSignatureForm || code == Code::kPaymentSignature);
    PTG_CHECK(payload.error().pointer().starts_with("/payload"));
    return;
  }
  const ExactEvm offered = Offered(*payload);
  const ExactEvm respelled = Offered(*other);
  PTG_CHECK(KeyOf(*payload) == KeyOf(*other) && DigestOf(offered) == DigestOf(respelled));
  PTG_CHECK(payload->signature == other->signature);
  const Result<> verdict = CheckExactEvm(offered);
  PTG_CHECK(verdict.has_value() == CheckExactEvm(respelled).has_value());
  if (!verdict) return;
  const chain::TransferAuthorization& auth = payload->auth;
  PTG_CHECK(auth.from == *crypto::EvmAddress::Parse(kPayer) && auth.to == Terms().pay_to);
  PTG_CHECK(auth.value == codec::Uint256(10'000) && auth.valid_after == codec::Uint256(0));
  PTG_CHECK(auth.valid_before == codec::Uint256(1'800'000'060));
  PTG_CHECK(codec::Hex0x(auth.nonce) == kNonce);
}

}  // namespace pontage::scheme
