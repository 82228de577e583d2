#include "buyer/policy.h"

#include <algorithm>

#include "base/try.h"
#include "net/message.h"

namespace pontage::buyer {
namespace {

using codec::Json;

// A payment that stays good for longer than this is a blank check.
constexpr int64_t kMostTimeoutS = 24 * 3600;

// How far an entry came, for choosing the refusal that helps most.
enum Progress : uint8_t { kUnread, kScheme, kNetwork, kAsset, kDomain, kAllowed };

struct Judged {
  Progress progress = kUnread;
  std::optional<Choice> choice;
  std::optional<Error> why;
  bool settles_first = false;
};

Judged Refuse(Progress progress, Code code, std::string detail) {
  Judged judged;
  judged.progress = progress;
  judged.why = Error(code, std::move(detail));
  return judged;
}

std::string_view TextIn(const Json& extra, std::string_view key) {
  const Json* value = extra.Find(key);
  const std::string* text = value ? value->AsString() : nullptr;
  return text ? std::string_view(*text) : std::string_view();
}

bool Has(const auto& list, const auto& item) {
  return list.empty() || std::ranges::find(list, item) != list.end();
}

// What the buyer's own limits say about a way to pay that he understands.
Judged CheckLimits(Choice choice, const chain::ChainId& network, const Policy& policy) {
  if (!Has(policy.networks, network)) {
    return Refuse(kAllowed, Code::kBuyerPolicy,
                  "payments on " + network.Caip2() + " are not allowed");
  }
  if (!Has(policy.assets, choice.asset.address)) {
    return Refuse(kAllowed, Code::kBuyerPolicy,
                  "the token " + choice.asset.address.ToChecksum() + " is not allowed");
  }
  const auto worth = Worth(choice.requirements.amount, choice.asset.decimals);
  if (!worth || *worth > policy.max) {
    return Refuse(kAllowed, Code::kBuyerPolicy,
                  "the price is " + (worth ? worth->ToString() : "beyond counting") +
                      ", the limit for one call " + policy.max.ToString());
  }
  if (choice.requirements.max_timeout_s <= 0 || choice.requirements.max_timeout_s > kMostTimeoutS) {
    return Refuse(kAllowed, Code::kBuyerPolicy,
                  "the payment would be good for " +
                      std::to_string(choice.requirements.max_timeout_s) + " seconds");
  }
  choice.price = *worth;
  Judged judged;
  judged.progress = kAllowed;
  judged.choice = std::move(choice);
  return judged;
}

Judged Judge(const Offer& offer, size_t index, const chain::AssetRegistry& assets,
             const Policy& policy) {
  auto read = x402::ParseRequirements(offer.accepts[index], offer.version,
                                      "/accepts/" + std::to_string(index));
  if (!read) return Refuse(kUnread, Code::kPaymentScheme, read.error().detail());
  const Json& extra = read->extra;
  if (read->scheme != "exact") {
    return Refuse(kScheme, Code::kPaymentScheme, "the scheme " + read->scheme + " is not known");
  }
  const std::string_view method = TextIn(extra, "assetTransferMethod");
  if (!method.empty() && method != "eip3009") {
    return Refuse(kScheme, Code::kPaymentScheme,
                  "the transfer method " + std::string(method) + " is not known");
  }
  const std::string_view flow = TextIn(extra, "paymentFlow");
  if (!flow.empty() && flow != "authorization" && flow != "upfront") {
    return Refuse(kScheme, Code::kPaymentScheme, "the flow " + std::string(flow) + " is not known");
  }
  const auto network = offer.version == 1 ? chain::ChainId::FromV1Name(read->network)
                                          : chain::ChainId::FromCaip2(read->network);
  if (!network || network->family() != chain::Family::kEvm) {
    return Refuse(kNetwork, Code::kPaymentNetwork,
                  "the network " + read->network + " is not known");
  }
  const auto token = crypto::EvmAddress::Parse(read->asset);
  const chain::EvmAsset* asset = token ? assets.Find(*network, *token) : nullptr;
  const auto pay_to = crypto::EvmAddress::Parse(read->pay_to);
  if (asset == nullptr || asset->method != chain::TransferMethod::kEip3009 || !pay_to ||
      pay_to->IsZero()) {
    return Refuse(kAsset, Code::kPaymentAsset,
                  "the token " + read->asset + " on " + read->network + " is not known");
  }
  if (TextIn(extra, "name") != asset->eip712_name ||
      TextIn(extra, "version") != asset->eip712_version) {
    return Refuse(kDomain, Code::kPaymentDomain,
                  "the offer names the EIP-712 domain \"" + std::string(TextIn(extra, "name")) +
                      "\" / \"" + std::string(TextIn(extra, "version")) + "\", the token's is \"" +
                      asset->eip712_name + "\" / \"" + asset->eip712_version + '"');
  }
  Choice choice{.index = index,
                .requirements = *std::move(read),
                .asset = *asset,
                .pay_to = *pay_to,
                .price = {}};
  Judged judged = CheckLimits(std::move(choice), *network, policy);
  judged.settles_first = flow == "upfront";
  return judged;
}

Result<Offer> OfferOf(const Json& json, int version) {
  Offer offer;
  offer.version = version;
  const Json* number = json.Find("x402Version");
  if (number == nullptr || number->AsInt64() != version) {
    return Fail(Code::kPaymentRequired,
                "the offer is not of x402 version " + std::to_string(version));
  }
  if (const Json* error = json.Find("error"); error != nullptr && error->AsString() != nullptr) {
    offer.error = *error->AsString();
  }
  const Json* accepts = json.Find("accepts");
  if (accepts == nullptr || accepts->AsArray() == nullptr) {
    return Fail(Code::kPaymentRequired, "the offer has no list \"accepts\"");
  }
  for (const Json& entry : *accepts->AsArray()) {
    if (offer.accepts.size() == kMaxAccepts) break;
    offer.accepts.push_back(entry);
  }
  if (version == 1) return offer;
  if (const Json* resource = json.Find("resource")) offer.resource = *resource;
  if (const Json* extensions = json.Find("extensions")) offer.extensions = *extensions;
  return offer;
}

}  // namespace

Result<Offer> ReadOffer(std::optional<std::string_view> header, std::string_view body) {
  if (header) {
    PTG_TRY(const Json json, x402::DecodeHeader(*header, Code::kPaymentRequired));
    return OfferOf(json, 2);
  }
  // A page for browsers, or a 402 of something else.
  codec::JsonLimits limits;
  limits.max_bytes = 256 << 10;
  limits.fault = Code::kPaymentRequired;
  const auto json = codec::ParseJson(body, limits);
  if (!json) return Fail(Code::kPaymentRequired, "the 402 says nothing about how to pay");
  return OfferOf(*json, 1);
}

Result<> CheckHost(const Policy& policy, std::string_view host) {
  const bool allowed =
      policy.hosts.empty() || std::ranges::any_of(policy.hosts, [&](const std::string& pinned) {
        return net::EqualsNoCase(pinned, host);
      });
  if (allowed) return {};
  return Fail(Code::kBuyerPolicy, "payments to " + std::string(host) + " are not allowed");
}

Result<Choice> Choose(const Offer& offer, const chain::AssetRegistry& assets,
                      const Policy& policy) {
  if (offer.accepts.empty()) {
    return Fail(Code::kPaymentRequired, "the offer lists no way to pay");
  }
  std::optional<Judged> best;
  for (size_t i = 0; i < offer.accepts.size(); ++i) {
    Judged judged = Judge(offer, i, assets, policy);
    if (judged.choice && !judged.settles_first) return *std::move(judged.choice);
    const bool better = !best || (judged.choice && !best->choice) ||
                        (!best->choice && judged.progress > best->progress);
    if (better) best = std::move(judged);
  }
  if (best->choice) return *std::move(best->choice);
  return Fail(*std::move(best->why));
}

std::optional<Money> Worth(const codec::Uint256& amount, uint8_t decimals) {
  codec::Uint256 micros = amount;
  bool rest = false;
  for (unsigned d = decimals; d > 6; --d) {
    const codec::QuotientRemainder part = DivMod(micros, 10);
    rest = rest || part.remainder != 0;
    micros = part.quotient;
  }
  for (unsigned d = decimals; d < 6; ++d) {
    const auto more = codec::Mul(micros, 10);
    if (!more) return std::nullopt;
    micros = *more;
  }
  const auto small = micros.ToU64();
  if (!small || *small >= static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
  return Money::Micros(static_cast<int64_t>(*small) + (rest ? 1 : 0));
}

}  // namespace pontage::buyer
