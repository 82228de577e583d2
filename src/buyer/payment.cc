#include "buyer/payment.h"

#include <algorithm>

#include "base/try.h"
#include "codec/hex.h"

namespace pontage::buyer {
namespace {

using codec::Json;

// Version 1 clients begin ten minutes early, for chains whose clock is behind.
constexpr int64_t kV1EarlyS = 600;

}  // namespace

SignedPayment SignPayment(const Offer& offer, const Choice& choice, const crypto::PrivateKey& key,
                          UnixMs now, const codec::Bytes32& nonce) {
  const int64_t from_s = offer.version == 1 ? std::max<int64_t>(0, now.seconds() - kV1EarlyS) : 0;
  const int64_t until_s = now.seconds() + choice.requirements.max_timeout_s;
  SignedPayment out;
  out.authorization = {.from = key.address(),
                       .to = choice.pay_to,
                       .value = choice.requirements.amount,
                       .valid_after = codec::Uint256(static_cast<uint64_t>(from_s)),
                       .valid_before = codec::Uint256(static_cast<uint64_t>(until_s)),
                       .nonce = nonce};
  out.network = choice.asset.chain;
  out.asset = choice.asset.address;
  out.valid_before = UnixMs::FromSeconds(until_s);
  const chain::Eip712Domain domain{.name = choice.asset.eip712_name,
                                   .version = choice.asset.eip712_version,
                                   .chain_id = choice.asset.chain.number(),
                                   .verifying_contract = choice.asset.address};
  const crypto::Signature65 signature =
      key.SignRecoverable(chain::DigestOf(chain::DomainSeparator(domain), out.authorization));

  const Json authorization =
      Json::Object({{"from", out.authorization.from.ToChecksum()},
                    {"to", out.authorization.to.ToChecksum()},
                    {"value", out.authorization.value.ToDecimal()},
                    {"validAfter", out.authorization.valid_after.ToDecimal()},
                    {"validBefore", out.authorization.valid_before.ToDecimal()},
                    {"nonce", codec::Hex0x(nonce)}});
  const Json payload =
      Json::Object({{"signature", codec::Hex0x(signature)}, {"authorization", authorization}});
  Json payment;
  payment.Set("x402Version", offer.version);
  if (offer.version == 1) {
    payment.Set("scheme", choice.requirements.scheme);
    payment.Set("network", choice.requirements.network);
    payment.Set("payload", payload);
    out.header_name = "X-PAYMENT";
  } else {
    if (!offer.resource.IsNull()) payment.Set("resource", offer.resource);
    payment.Set("accepted", offer.accepts[choice.index]);
    payment.Set("payload", payload);
    if (!offer.extensions.IsNull()) payment.Set("extensions", offer.extensions);
    out.header_name = "PAYMENT-SIGNATURE";
  }
  out.header = x402::EncodeHeader(payment);
  return out;
}

Result<std::optional<x402::SettleAnswer>> ReadReceipt(std::optional<std::string_view> v2,
                                                      std::optional<std::string_view> v1) {
  const auto value = v2 ? v2 : v1;
  if (!value) return std::optional<x402::SettleAnswer>();
  PTG_TRY(const Json json, x402::DecodeHeader(*value, Code::kUpstreamProtocol));
  auto answer = x402::ParseSettleAnswer(json);
  if (!answer) {
    return Fail(Code::kUpstreamProtocol, "the receipt cannot be read: " + answer.error().detail());
  }
  return std::optional(*std::move(answer));
}

Result<> ProvesPayment(const chain::EvmReceipt& receipt, const SignedPayment& payment) {
  if (!receipt.ok) return Fail(Code::kSettleTransfer, "the transaction was reverted");
  const auto used = [&](const chain::EvmLog& log) {
    const auto event = chain::AsAuthorizationUsed(log);
    return event && event->token == payment.asset &&
           event->authorizer == payment.authorization.from &&
           event->nonce == payment.authorization.nonce;
  };
  const auto moved = [&](const chain::EvmLog& log) {
    const auto event = chain::AsTransfer(log);
    return event && event->token == payment.asset && event->from == payment.authorization.from &&
           event->to == payment.authorization.to && event->value == payment.authorization.value;
  };
  if (!std::ranges::any_of(receipt.logs, used)) {
    return Fail(Code::kSettleTransfer, "the transaction did not use this authorization");
  }
  if (!std::ranges::any_of(receipt.logs, moved)) {
    return Fail(Code::kSettleTransfer, "the transaction did not pay the payee this amount");
  }
  return {};
}

}  // namespace pontage::buyer
