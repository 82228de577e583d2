#include "rail/x402_rail.h"

#include <algorithm>

#include "base/try.h"
#include "catalog/price.h"
#include "codec/base64.h"
#include "codec/hex.h"
#include "scheme/exact_evm.h"
#include "wire/problem/error_map.h"

namespace pontage::rail {
namespace {

using codec::Json;

constexpr std::string_view kHeaderV1 = "X-PAYMENT";
constexpr std::string_view kHeaderV2 = "PAYMENT-SIGNATURE";

// What the official servers offer by default; an offer below it would turn away payments that were
// signed a little while ago.
constexpr int64_t kLeastTimeoutV1 = 60;
constexpr int64_t kLeastTimeoutV2 = 300;
// On top of what answering and settling may take.
constexpr int64_t kTimeoutSlack = 60;

// "base-sepolia" or "eip155:84532": the network as version `v` spells it, if it can.
std::optional<std::string> NetworkName(const chain::ChainId& network, int version) {
  if (version == 2) return network.Caip2();
  const std::optional<std::string_view> name = network.V1Name();
  if (!name) return std::nullopt;
  return std::string(*name);
}

deal::Settlement ToSettlement(const settle::Facilitator::Settlement& from) {
  deal::Settlement to;
  switch (from.outcome) {
    case settle::Facilitator::Outcome::kSettled:
      to.outcome = deal::Settlement::Outcome::kSettled;
      break;
    case settle::Facilitator::Outcome::kRefused:
      to.outcome = deal::Settlement::Outcome::kRefused;
      break;
    case settle::Facilitator::Outcome::kUnknown:
      to.outcome = deal::Settlement::Outcome::kUnknown;
      break;
  }
  to.transaction = from.answer.transaction;
  to.receipt = codec::ToString(from.answer.ToJson());
  to.reason = from.answer.reason;
  return to;
}

struct Stored {
  x402::Payment payment;
  x402::Requirements requirements;
};

Result<Stored> ReadStored(const std::string& payload, const std::string& requirement) {
  PTG_TRY(Json payment_json, codec::ParseJson(payload));
  PTG_TRY(const Json requirement_json, codec::ParseJson(requirement));
  Stored stored;
  PTG_TRY(stored.payment, x402::ParsePayment(std::move(payment_json)));
  PTG_TRY(stored.requirements,
          x402::ParseRequirements(requirement_json, stored.payment.version, "/requirements"));
  return stored;
}

}  // namespace

Result<std::unique_ptr<X402Rail>> X402Rail::Make(const std::vector<catalog::Route>& routes,
                                                 chain::AssetRegistry assets, X402Options options,
                                                 settle::Facilitator& facilitator,
                                                 const Clock& clock) {
  std::unique_ptr<X402Rail> rail(
      new X402Rail(std::move(assets), std::move(options), facilitator, clock));
  for (const catalog::Route& route : routes) {
    if (route.free) {
      rail->offers_.emplace_back();
      continue;
    }
    PTG_TRY(Offers offers, rail->OffersOf(route));
    rail->offers_.push_back(std::move(offers));
  }
  return rail;
}

Result<X402Rail::Offers> X402Rail::OffersOf(const catalog::Route& route) const {
  const auto bad = [&route](std::string why, std::string want) {
    return Fail(Error(Code::kConfig, "route \"" + route.match + "\": " + std::move(why))
                    .Want(std::move(want)));
  };
  if (route.scheme != "exact" || route.transfer != "eip3009") {
    return bad("scheme " + route.scheme + " by " + route.transfer + " is not in this version",
               "scheme = \"exact\", transfer = \"eip3009\"");
  }
  Offers offers;
  offers.speaks_v1 = route.v1;
  offers.speaks_v2 = route.v2;
  offers.needs = route.answer_timeout + options_.settle_timeout + options_.margin;
  const int64_t needs_s = (offers.needs.count() + 999) / 1000 + kTimeoutSlack;
  for (const PayTo& to : options_.pay_to) {
    const std::string caip2 = to.network.Caip2();
    const bool listed = std::ranges::find(route.networks, caip2) != route.networks.end();
    if (!route.networks.empty() && !listed) continue;
    if (to.network.family() != chain::Family::kEvm) {
      return bad("network " + caip2 + " is not in this version", "an EVM network in [x402.pay_to]");
    }
    const chain::EvmAsset* asset = assets_.DefaultOf(to.network);
    if (asset == nullptr || asset->method != chain::TransferMethod::kEip3009) {
      return bad("network " + caip2 + " has no asset with EIP-3009",
                 "assets = [{address, decimals, name, version}] in its [chain] table");
    }
    const Result<codec::Uint256> amount = catalog::AtomicUnits(route.price, asset->decimals);
    if (!amount) {
      return bad(amount.error().detail() + " (" + asset->symbol + " on " + caip2 + ")",
                 amount.error().expected());
    }
    x402::Requirements offer;
    offer.scheme = route.scheme;
    offer.amount = *amount;
    offer.asset = asset->address.ToChecksum();
    offer.pay_to = to.address;
    offer.extra = Json::Object({{"name", asset->eip712_name}, {"version", asset->eip712_version}});
    for (const int version : {1, 2}) {
      const std::optional<std::string> network = NetworkName(to.network, version);
      if (!(version == 1 ? route.v1 : route.v2) || !network) continue;
      offer.version = version;
      offer.network = *network;
      offer.max_timeout_s = std::max(version == 1 ? kLeastTimeoutV1 : kLeastTimeoutV2, needs_s);
      (version == 1 ? offers.v1 : offers.v2).push_back(offer);
    }
  }
  if (offers.v1.empty() && offers.v2.empty()) {
    return bad("nothing to pay with: no network of [x402.pay_to] is left",
               "a network of [x402.pay_to] that the route's networks and versions allow");
  }
  return offers;
}

Result<std::optional<deal::Credential>> X402Rail::Find(const net::Headers& headers) const {
  // A client of mixed parentage sends both; the newer one counts.
  for (const std::string_view name : {kHeaderV2, kHeaderV1}) {
    const std::optional<std::string_view> first = headers.Get(name);
    if (!first) continue;
    deal::Credential credential;
    credential.rail = this->name();
    credential.version = name == kHeaderV2 ? 2 : 1;
    const std::string_view value = *first;
    if (headers.Count(name) > 1 || value.find(',') != value.npos) {
      return Fail(Error(Code::kPaymentMalformed, std::string(name) + " was sent more than once")
                      .Want("one payment in one header"));
    }
    if (value.size() > x402::kMaxPaymentHeader) {
      return Fail(Error(Code::kPaymentMalformed, std::string(name) + " is longer than 16 KiB")
                      .Want("at most 16384 characters"));
    }
    credential.value = value;
    return credential;
  }
  return std::nullopt;
}

bool X402Rail::IsOwnHeader(std::string_view name) const {
  // Payment-Retry is what Python's requests adapter adds to the paid attempt.
  for (const std::string_view own : {kHeaderV2, kHeaderV1, std::string_view("Payment-Retry")}) {
    if (net::EqualsNoCase(name, own)) return true;
  }
  return false;
}

void X402Rail::Offer(const deal::Quote& quote, const Error& why, deal::Challenge& challenge) const {
  const Offers& offers = offers_[quote.route];
  const bool unpaid = why.code() == Code::kPaymentRequired;
  if (!offers.v2.empty()) {
    x402::Challenge c;
    c.error = unpaid ? "Payment required" : problem::Reason(why, 2);
    c.resource_url = quote.resource_url;
    c.description = quote.description;
    c.mime_type = quote.mime_type;
    c.accepts = offers.v2;
    challenge.headers.emplace_back("PAYMENT-REQUIRED", x402::EncodeHeader(c.ToJson()));
  }
  if (!offers.v1.empty()) {
    x402::Challenge c;
    c.version = 1;
    c.error = unpaid ? "X-PAYMENT header is required" : problem::Reason(why, 1);
    c.accepts = offers.v1;
    for (x402::Requirements& one : c.accepts) {
      one.resource = quote.resource_url;
      one.description = quote.description;
      one.mime_type = quote.mime_type;
    }
    const Json json = c.ToJson();
    for (const codec::JsonMember& member : *json.AsObject()) {
      challenge.members.Set(member.key, member.value);
    }
    challenge.plain_json = true;
  }
}

Result<X402Rail::Chosen> X402Rail::Choose(const deal::Credential& credential,
                                          const deal::Quote& quote) const {
  const Offers& offers = offers_[quote.route];
  PTG_TRY(x402::Payment payment, x402::DecodePaymentHeader(credential.value, credential.version));
  const std::vector<x402::Requirements>& list = payment.version == 1 ? offers.v1 : offers.v2;
  if (list.empty()) {
    return Fail(Error(Code::kPaymentVersion,
                      "this route does not take x402 version " + std::to_string(payment.version))
                    .At("/x402Version")
                    .Want(payment.version == 1 ? "2" : "1"));
  }
  std::optional<Error> fault;
  for (const x402::Requirements& one : list) {
    if (payment.version == 1) {
      if (one.scheme == payment.scheme && one.network == payment.network) {
        x402::Requirements chosen = one;
        chosen.resource = quote.resource_url;
        chosen.description = quote.description;
        chosen.mime_type = quote.mime_type;
        return Chosen{std::move(payment), std::move(chosen)};
      }
      continue;
    }
    Result<> match = MatchesOffer(payment.accepted(), one);
    if (match) return Chosen{std::move(payment), one};
    if (!fault) fault = std::move(match).error();
  }
  if (fault) return Fail(*std::move(fault));
  return Fail(Error(Code::kPaymentNoMatch, "the payment matches nothing on offer")
                  .At("/network")
                  .Want(list.front().scheme + " on " + list.front().network));
}

Result<X402Rail::Chosen> X402Rail::AsNamed(const deal::Credential& credential) const {
  PTG_TRY(x402::Payment payment, x402::DecodePaymentHeader(credential.value, credential.version));
  if (payment.version == 1) {
    PTG_TRY(const scheme::ExactEvmPayload paid, scheme::ParseExactEvm(payment.payload()));
    PTG_TRY(const chain::ChainId network, chain::ChainId::Parse(payment.network));
    const chain::EvmAsset* asset = assets_.DefaultOf(network);
    if (asset == nullptr) return Fail(Code::kPaymentNoMatch, "no asset of that network is known");
    x402::Requirements named;
    named.version = 1;
    named.scheme = payment.scheme;
    named.network = payment.network;
    named.asset = asset->address.ToChecksum();
    named.pay_to = paid.auth.to.ToChecksum();
    named.amount = paid.auth.value;
    return Chosen{std::move(payment), std::move(named)};
  }
  PTG_TRY(x402::Requirements accepted,
          x402::ParseRequirements(payment.accepted(), payment.version, "/accepted"));
  return Chosen{std::move(payment), std::move(accepted)};
}

Result<deal::Grant> X402Rail::Claim(const deal::Credential& credential,
                                    const deal::Quote& quote) const {
  Result<Chosen> offered = Choose(credential, quote);
  // Prices, networks and versions may have changed since.
  if (!offered) offered = AsNamed(credential);
  PTG_TRY(const Chosen chosen, std::move(offered));
  return GrantOf(chosen);
}

Result<deal::Grant> X402Rail::GrantOf(const Chosen& chosen) const {
  PTG_TRY(const scheme::ExactEvmPayload paid, scheme::ParseExactEvm(chosen.payment.payload()));
  PTG_TRY(const chain::ChainId network, chain::ChainId::Parse(chosen.requirements.network));
  PTG_TRY(const crypto::EvmAddress asset, crypto::EvmAddress::Parse(chosen.requirements.asset));

  deal::Grant grant;
  grant.rail = name();
  grant.version = chosen.payment.version;
  grant.scheme = chosen.requirements.scheme;
  grant.network = network.Caip2();
  grant.asset = chosen.requirements.asset;
  grant.payer = paid.auth.from.ToChecksum();
  grant.pay_to = chosen.requirements.pay_to;
  grant.nonce = codec::Hex0x(paid.auth.nonce);
  grant.most = chosen.requirements.amount;
  grant.once_key = scheme::OnceKey(network, asset, paid.auth.from, paid.auth.nonce);
  // Beyond year 9999 all are equally far.
  constexpr int64_t kFarS = 253'402'300'799;
  const uint64_t before = paid.auth.valid_before.ToU64().value_or(kFarS);
  grant.valid_before = UnixMs::FromSeconds(static_cast<int64_t>(std::min<uint64_t>(before, kFarS)));
  grant.settle_needs = options_.settle_timeout + options_.margin;
  grant.payload = codec::ToString(chosen.payment.raw);
  grant.requirement = codec::ToString(chosen.requirements.ToJson());
  return grant;
}

Task<deal::Grant> X402Rail::Verify(const deal::Credential& credential, const deal::Quote& quote,
                                   Deadline by) const {
  PTG_CO_TRY(const Chosen chosen, Choose(credential, quote));
  PTG_CO_TRY(deal::Grant grant, GrantOf(chosen));
  PTG_CO_TRY(const x402::VerifyAnswer answer,
             co_await facilitator_.Verify(chosen.payment, chosen.requirements, by));
  if (!answer.valid) {
    const Code code =
        answer.code.value_or(problem::CodeOfReason(answer.reason, Code::kPaymentRefused));
    std::string detail = answer.message.empty()
                             ? "the facilitator refused the payment: " + answer.reason
                             : answer.message;
    co_return Fail(Error(code, std::move(detail))
                       .At(answer.pointer)
                       .Want(answer.expected)
                       .Because(answer.reason));
  }
  if (!answer.payer.empty()) {
    const auto payer = crypto::EvmAddress::Parse(answer.payer);
    if (!payer || payer->ToChecksum() != grant.payer) {
      co_return Fail(Code::kFacilitatorAnswer, "the facilitator names another payer");
    }
  }
  // Later than the facilitator's own checks: a payment that is bad in itself is told so first.
  const Millis needs = offers_[quote.route].needs;
  if (grant.valid_before < clock_.Now() + needs) {
    co_return Fail(
        Error(Code::kPaymentExpired, "the payment runs out before it could be settled here")
            .At("/payload/authorization/validBefore")
            .Want("at least " + std::to_string((needs.count() + 999) / 1000) +
                  " seconds from now"));
  }
  if (chosen.payment.resource_url) {
    PTG_CO_RUN(SameResource(*chosen.payment.resource_url, quote.resource_url));
  }
  co_return grant;
}

Task<deal::Settlement> X402Rail::Settle(const std::string& payload, const std::string& requirement,
                                        deal::Asking asking, Deadline by) const {
  PTG_CO_TRY(const Stored stored, ReadStored(payload, requirement));
  PTG_CO_TRY(const settle::Facilitator::Settlement settled,
             co_await facilitator_.SettleSale(stored.payment, stored.requirements, asking, by));
  co_return ToSettlement(settled);
}

Task<Traced> X402Rail::Lookup(const std::string& payload, const std::string& requirement,
                              Deadline by) const {
  PTG_CO_TRY(const Stored stored, ReadStored(payload, requirement));
  PTG_CO_TRY(const settle::Facilitator::Traced found,
             co_await facilitator_.Lookup(stored.payment, stored.requirements, by));
  Traced traced;
  traced.as_of = found.as_of;
  switch (found.trace) {
    case settle::Facilitator::Trace::kUnknown:
      traced.trace = Trace::kUnknown;
      break;
    case settle::Facilitator::Trace::kUnused:
      traced.trace = Trace::kUnused;
      break;
    case settle::Facilitator::Trace::kUsedElsewhere:
      traced.trace = Trace::kUsedElsewhere;
      break;
    case settle::Facilitator::Trace::kUsed: {
      settle::Facilitator::Settlement settlement;
      settlement.outcome = settle::Facilitator::Outcome::kSettled;
      settlement.answer = found.answer;
      traced.trace = Trace::kUsed;
      traced.settlement = ToSettlement(settlement);
      break;
    }
  }
  co_return traced;
}

std::pair<std::string_view, std::string> X402Rail::ReceiptHeader(int version,
                                                                 const std::string& receipt) const {
  return {version == 1 ? "X-PAYMENT-RESPONSE" : "PAYMENT-RESPONSE", codec::EncodeBase64(receipt)};
}

}  // namespace pontage::rail
