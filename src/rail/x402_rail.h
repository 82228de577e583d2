#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/time.h"
#include "catalog/route.h"
#include "chain/chain_id.h"
#include "chain/registry.h"
#include "rail/rail.h"
#include "settle/facilitator.h"
#include "wire/x402/types.h"

namespace pontage::rail {

// Where payments on one network go.
struct PayTo {
  chain::ChainId network;
  std::string address;  // as offers show it
};

struct X402Options {
  std::vector<PayTo> pay_to;
  Millis settle_timeout{30'000};
  // A payment must be good for this much longer than answering and settling may take; the
  // facilitator itself wants 6 s (x402 reference §7.3.3).
  Millis margin{6'000};
};

// x402, versions 1 and 2. Made once per configuration snapshot: the offers of every route are
// computed here, so that a price that is not exact in an offered asset's decimals is a
// configuration error.
class X402Rail final : public Rail {
 public:
  // kConfig when a paid route cannot be offered at all or its price is not exact somewhere.
  static Result<std::unique_ptr<X402Rail>> Make(const std::vector<catalog::Route>& routes,
                                                chain::AssetRegistry assets, X402Options options,
                                                settle::Facilitator& facilitator,
                                                const Clock& clock);

  std::string_view name() const override { return "x402"; }
  Result<std::optional<deal::Credential>> Find(const net::Headers& headers) const override;
  bool IsOwnHeader(std::string_view name) const override;
  void Offer(const deal::Quote& quote, const Error& why, deal::Challenge& challenge) const override;
  Task<deal::Grant> Verify(const deal::Credential& credential, const deal::Quote& quote,
                           Deadline by) const override;
  Result<deal::Grant> Claim(const deal::Credential& credential,
                            const deal::Quote& quote) const override;
  Task<deal::Settlement> Settle(const std::string& payload, const std::string& requirement,
                                deal::Asking asking, Deadline by) const override;
  Task<Traced> Lookup(const std::string& payload, const std::string& requirement,
                      Deadline by) const override;
  std::pair<std::string_view, std::string> ReceiptHeader(int version,
                                                         const std::string& receipt) const override;

  // The offers of a route, for the price list and `pontage demo`.
  const std::vector<x402::Requirements>& OffersV2(size_t route) const { return offers_[route].v2; }

 private:
  struct Offers {
    bool speaks_v1 = false;
    bool speaks_v2 = false;
    std::vector<x402::Requirements> v1;
    std::vector<x402::Requirements> v2;
    Millis needs{0};  // how long a payment must still be good
  };
  struct Chosen {
    x402::Payment payment;
    x402::Requirements requirements;
  };

  X402Rail(chain::AssetRegistry assets, X402Options options, settle::Facilitator& facilitator,
           const Clock& clock)
      : assets_(std::move(assets)),
        options_(std::move(options)),
        facilitator_(facilitator),
        clock_(clock) {}
  Result<Offers> OffersOf(const catalog::Route& route) const;
  Result<Chosen> Choose(const deal::Credential& credential, const deal::Quote& quote) const;
  // The offer that the payment says it was for, whether or not it still stands. Version 2 names it
  // whole, version 1 a network, and the asset is what prices mean there now.
  Result<Chosen> AsNamed(const deal::Credential& credential) const;
  Result<deal::Grant> GrantOf(const Chosen& chosen) const;

  chain::AssetRegistry assets_;
  X402Options options_;
  settle::Facilitator& facilitator_;
  const Clock& clock_;
  std::vector<Offers> offers_;
};

// Decisions of the rail, free of it, for their tables of cases.

// Whether `accepted` (what a v2 buyer says he took) is the offer `offered`: equal scheme, network,
// amount, asset, payTo and maxTimeoutSeconds, and every member of the offer's extra unchanged;
// further members are the buyer's own business. EVM addresses compare without case. When not, the
// error names the first member that differs.
Result<> MatchesOffer(const codec::Json& accepted, const x402::Requirements& offered);

// Whether a payment that names `named` may pay for `resource_url`: equal scheme, host and port
// without case, equal canonical path, equal query. kPaymentResource otherwise.
Result<> SameResource(std::string_view named, std::string_view resource_url);

}  // namespace pontage::rail
