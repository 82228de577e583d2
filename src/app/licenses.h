#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "app/config.h"
#include "app/issuer_name.h"
#include "app/license_feed.h"
#include "app/license_keys.h"
#include "io/runtime.h"
#include "license/fernet.h"
#include "license/key_ring.h"
#include "license/verifier.h"
#include "rail/license_rail.h"

// What [license] and [[plan]] come to, for those who check licenses; who issues them has more
// (signing.h).
namespace pontage::app {

// The shared keys of `license.fernet_keys`, and the plans of that format; nullptr: there are none.
// kConfig for a key that is none.
Result<std::shared_ptr<const license::FernetKeys>> LoadFernet(const Config& config);
// That keys are shared, and what follows from it: refused where the roles live apart, unless the
// configuration says that it may be; said in the log otherwise.
Result<> MindSharedKeys(const Config& config, bool apart);

// With what `ring` has at the time. nullptr when the configuration names no key at all.
Result<std::shared_ptr<const license::Verifier>> MakeVerifier(
    const Config& config, std::shared_ptr<const license::KeyRing> ring);
// For a command: with the keys of the files and what the store's books and copies say of them.
Result<std::shared_ptr<const license::Verifier>> LoadVerifier(const Config& config,
                                                              db::Database& database);

// Of the issuer in this store, or of the one whom `license.feed` names. kConfig when the latter
// cannot be checked for want of his keys. `keys` outlives it.
Result<std::unique_ptr<LicenseFeed>> MakeLicenseFeed(const Config& config, db::Database& database,
                                                     LicenseKeys& keys, Loop& loop,
                                                     const Clock& clock, obs::Registry& metrics);

// How long a license of the plan is good for that nobody renews: what it says, else 30 days.
int64_t DaysOf(const PlanConfig& plan);

// What [[plan]] says that each opens and allows.
license::Plans PlanTermsOf(const Config& config);

// What `license.max_stale` and `license.when_stale` say.
license::StalePolicy StaleOf(const Config& config);

// The plans as offers show them. `running` is the configuration of the role that sells them, if
// this process has it: then they say where.
std::vector<rail::PlanOffer> PlanOffers(const Config& config, const Config& running,
                                        const std::string& public_url);

}  // namespace pontage::app
