#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "base/rng.h"
#include "base/time.h"
#include "db/db.h"
#include "license/license_store.h"
#include "sales/mail/templates.h"
#include "sales/shop.h"

// Links that show a license once, for sellers who do not want licenses to lie in mailboxes
// ([license] delivery = "claim"). Functions inside a transaction.
namespace pontage::sales {

// How long a link waits to be opened. Whoever comes later asks for another (/billing/resend).
inline constexpr Millis kClaimTerm{7 * 86'400'000LL};

// A new link's token, "clm_" and 43 letters; the store keeps its digest alone. It is for the text
// that the license has now: one that replaces it is not shown by it. Links that are over are
// forgotten on the way.
Result<std::string> OfferClaim(db::Tx& tx, const license::License& license, UnixMs now, Rng& rng);

// The license as a mail has it: `text`, or where the shop does not mail licenses a new link to it.
Result<mail::LicenseGiven> GiveByMail(db::Tx& tx, const Shop& shop, const license::License& license,
                                      std::string text, UnixMs now, Rng& rng);

// The id of the license that the token shows; it shows it this once. kNotFound, and nothing is
// changed, for one that is unknown, too old, was used, or whose text was replaced.
Result<std::string> TakeClaim(db::Tx& tx, std::string_view token, UnixMs now);

// What kNotFound says here.
Error ClaimGone();

// The same for the success page, which has no token: a checkout session shows its license once.
// kNotFound when it has.
Result<> TakeClaimOfSession(db::Tx& tx, std::string_view session, std::string_view license,
                            UnixMs now);

}  // namespace pontage::sales
