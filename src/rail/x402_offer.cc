// The pure decisions of the x402 rail: what matches an offer, what names the same resource.
#include <algorithm>

#include "base/try.h"
#include "catalog/path.h"
#include "crypto/evm_address.h"
#include "net/client.h"
#include "rail/x402_rail.h"

namespace pontage::rail {
namespace {

using codec::Json;

// Byte for byte, but EVM addresses without case: "addresses are compared as strings" is what makes
// a checksummed and a lower-case spelling of one payee two.
bool SameAddress(std::string_view a, std::string_view b) {
  if (a == b) return true;
  const auto x = crypto::EvmAddress::Parse(a);
  const auto y = crypto::EvmAddress::Parse(b);
  return x && y && *x == *y;
}

Error Differs(std::string_view member, std::string want) {
  return Error(Code::kPaymentNoMatch, "the payment matches nothing on offer")
      .At("/accepted/" + std::string(member))
      .Want(std::move(want));
}

}  // namespace

Result<> MatchesOffer(const Json& accepted, const x402::Requirements& offered) {
  PTG_TRY(const codec::JsonReader r,
          codec::JsonReader::Of(accepted, Code::kPaymentMalformed, "/accepted"));
  PTG_TRY(const std::string_view scheme, r.String("scheme"));
  if (scheme != offered.scheme) return Fail(Differs("scheme", offered.scheme));
  PTG_TRY(const std::string_view network, r.String("network"));
  if (network != offered.network) return Fail(Differs("network", offered.network));
  PTG_TRY(const std::string_view asset, r.String("asset"));
  if (!SameAddress(asset, offered.asset)) return Fail(Differs("asset", offered.asset));
  PTG_TRY(const std::string_view amount, r.String("amount"));
  if (amount != offered.amount.ToDecimal()) {
    return Fail(Differs("amount", offered.amount.ToDecimal()));
  }
  PTG_TRY(const std::string_view pay_to, r.String("payTo"));
  if (!SameAddress(pay_to, offered.pay_to)) return Fail(Differs("payTo", offered.pay_to));
  PTG_TRY(const int64_t timeout, r.Int("maxTimeoutSeconds"));
  if (timeout != offered.max_timeout_s) {
    return Fail(Differs("maxTimeoutSeconds", std::to_string(offered.max_timeout_s)));
  }
  const Json* extra = r.MaybeAny("extra");
  for (const codec::JsonMember& member : *offered.extra.AsObject()) {
    const Json* theirs = extra != nullptr ? extra->Find(member.key) : nullptr;
    if (theirs == nullptr || !(*theirs == member.value)) {
      return Fail(Differs("extra/" + member.key, codec::ToString(member.value)));
    }
  }
  return {};
}

Result<> SameResource(std::string_view named, std::string_view resource_url) {
  const auto other = [&] {
    return Fail(Error(Code::kPaymentResource, "the payment names another resource")
                    .At("/resource/url")
                    .Want(std::string(resource_url)));
  };
  const Result<net::Url> a = net::ParseUrl(named);
  const Result<net::Url> b = net::ParseUrl(resource_url);
  if (!a || !b || a->tls != b->tls || a->port != b->port) return other();
  if (!net::EqualsNoCase(a->host, b->host)) return other();
  const Result<catalog::Target> x = catalog::Canonicalize(a->path);
  const Result<catalog::Target> y = catalog::Canonicalize(b->path);
  if (!x || !y || x->key != y->key || x->query != y->query) return other();
  return {};
}

}  // namespace pontage::rail
