#pragma once

#include <memory>
#include <string>
#include <vector>

#include "app/config.h"
#include "app/license_feed.h"
#include "io/runtime.h"
#include "license/issuer.h"
#include "license/verifier.h"
#include "rail/license_rail.h"
#include "sales/license_api.h"

// What [license] and [[plan]] come to.
namespace pontage::app {

// `license.issuer`, else the public URL, else "pontage": the same for who issues and who verifies.
std::string IssuerName(const Config& config);

// With the keys of `license.jwks` and that of `license.signing_key`. nullptr when the file names
// neither. kConfig, naming key and fault, when one cannot be read.
Result<std::shared_ptr<const license::Verifier>> LoadVerifier(const Config& config);

// kConfig when there is no signing key here.
Result<license::Issuer> LoadIssuer(const Config& config);

// Of the issuer in this store, or of the one whom `license.feed` names. kConfig when the latter
// cannot be checked for want of his keys.
Result<std::unique_ptr<LicenseFeed>> MakeLicenseFeed(const Config& config, db::Database& database,
                                                     Loop& loop, const Clock& clock,
                                                     obs::Registry& metrics);

// What the role `sales` says to gateways. kConfig without a signing key.
Result<std::unique_ptr<sales::LicenseApi>> MakeLicenseApi(const Config& config,
                                                          db::Database& database,
                                                          const Clock& clock, Rng& rng);

// How long a license of the plan is good for that nobody renews: what it says, else 30 days.
int64_t DaysOf(const PlanConfig& plan);

// What [[plan]] says that each opens and allows.
license::Plans PlanTermsOf(const Config& config);

// The plans as offers show them. `running` is the configuration of the role that sells them, if
// this process has it: then they say where.
std::vector<rail::PlanOffer> PlanOffers(const Config& config, const Config& running,
                                        const std::string& public_url);

}  // namespace pontage::app
