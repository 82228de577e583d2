#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "codec/json.h"
#include "db/db.h"
#include "license/claims.h"
#include "license/decision.h"
#include "license/feed.h"
#include "license/feed_document.h"

// The issuer's books of licenses, as functions inside a transaction. Every change of a license
// that a gateway must hear of is a line of the feed in the same transaction.
namespace pontage::license {

struct License {
  std::string id;
  std::string origin;  // what it was issued for; there is one license for each
  std::string customer;
  std::string email;
  std::string plan;
  std::vector<std::string> products;
  std::string tier;
  Limits limits;
  std::string subscription;
  int64_t generation = 1;
  Status status = Status::kActive;
  std::string revoked_by;  // "operator" or "payment"; empty: not revoked
  std::string reason;
  UnixMs paid_through;
  UnixMs expires;       // paid_through and the grace, or later where the operator said so
  UnixMs issued;        // of the token in force
  UnixMs signed_until;  // its exp
  UnixMs created;
  UnixMs updated;
  UnixMs extended;      // until when it stands by the operator's word; 0: he said nothing
  UnixMs extended_end;  // when it would have ended without his word, as it was paid for then
  UnixMs old_until;     // when the text before the one in force ends; 0: it has
  std::string price;    // Stripe's, under which it was last known to be its plan's
};

// The status as of now: that its time has come is written down by nobody.
Status StatusAt(const License& license, UnixMs now);

// What a gateway is told of it.
Entitlement WordOf(const License& license);

// What people and programs are shown of it: id, status (as of now), plan, product, tier, customer,
// email, subscription, generation, and times as RFC 3339.
codec::Json ToJson(const License& license, UnixMs now);
// What of it matters, short, as the audit keeps it: status, plan, end, generation.
std::string AuditText(const License& license);

// A new text for it from now on; the one before opens for `overlap` longer, and the one before that
// no more. Both count as one: what they use is counted by the license's id.
void Replace(License& license, UnixMs now, Millis overlap);
inline constexpr Millis kMostOverlap{30 * 86'400'000LL};
// Whether a text of it with this generation is over: a newer one is in force, and lets it be good
// no longer.
bool IsReplaced(const License& license, int64_t generation, UnixMs now);
// "24h", up to kMostOverlap; empty: none. kBadRequest otherwise.
Result<Millis> ParseOverlap(std::string_view text);

// The claims of the token in force.
Claims ClaimsOf(const License& license, std::string_view issuer);

// Adds the license, and a line of the feed where its token does not say all. False when its origin
// has one already, and then nothing is changed.
Result<bool> InsertLicense(db::Tx& tx, const License& license, UnixMs now);

Result<std::optional<License>> FindLicense(db::Tx& tx, std::string_view id);
// The license is that of another origin from now on. kStore when that has one.
Result<> MoveLicense(db::Tx& tx, const std::string& id, const std::string& origin);
Result<std::optional<License>> FindLicenseByOrigin(db::Tx& tx, std::string_view origin);

// The same for who will write it: nobody else does from here to the end of the transaction, and
// what somebody else was writing is waited for. All of a license is written at once, so that what
// was read before would undo it. Only in a transaction that writes.
Result<std::optional<License>> FindLicenseToWrite(db::Tx& tx, std::string_view id);
Result<std::optional<License>> FindLicenseByOriginToWrite(db::Tx& tx, std::string_view origin);

// By whom; all that is empty is not asked for. Newest first, at most `limit`.
struct LicenseFilter {
  std::string customer{};
  std::string email{};  // in the spelling of NormalEmail
  std::string subscription{};
  size_t limit = 100;
  // Only those behind this one of a list before; empty: from the newest.
  UnixMs before_created{};
  std::string before_id{};
};
Result<std::vector<License>> ListLicenses(db::Tx& tx, const LicenseFilter& filter);

// Those of a subscription (not empty), at most `limit`; oldest first.
Result<std::vector<License>> ListLicensesOf(db::Tx& tx, const std::string& subscription,
                                            size_t limit);

// Whether a buyer has or had a license that has the plan `plan`, or had it before another: by his
// customer or by his address, what is empty of them is not asked for. That of the subscription
// `besides` does not count, if it is not empty.
Result<bool> EverHad(db::Tx& tx, const std::string& plan, const std::string& customer,
                     const std::string& email, const std::string& besides);

// Those that may still open something and whose text is older than `before`; oldest first.
Result<std::vector<License>> ListLiveIssuedBefore(db::Tx& tx, UnixMs before, UnixMs now,
                                                  size_t limit);

// `license` was read by one of those to write. Writes all that can change of a license, and a line
// of the feed when it is something a gateway needs to know (status, end, plan, generation and the
// overlap of it). A license that the operator revoked stays revoked: false, and nothing is changed.
// kNotFound when there is no such license.
Result<bool> UpdateLicense(db::Tx& tx, const License& license, UnixMs now);

// Lines after `since`, in order, at most `limit`.
Result<std::vector<FeedEntry>> ReadFeed(db::Tx& tx, int64_t since, size_t limit);
// Where the feed ends.
Result<FeedHead> ReadFeedHead(db::Tx& tx);
// What a gateway that has the feed up to `since` needs next: its lines; of one that has nothing,
// the last line of each license. `issuer` and `issued` are the caller's to fill in.
Result<FeedDocument> ReadFeedDocument(db::Tx& tx, int64_t since);

// A gateway's own copy of the feed of an issuer who lives apart from it. A store has one copy: the
// words of another issuer, whose place this one took, go when he is heard for the first time.
struct FeedCopy {
  FeedHead head;
  UnixMs as_of;         // when the issuer was heard last, by his clock
  bool begun = false;   // some of the words are his
  bool others = false;  // some are another's, and `head` is where it begins anew
};
Result<FeedCopy> ReadFeedCopy(db::Tx& tx, const std::string& issuer);
// Writes down what GoesOn found good, in the place of what another issuer said. kConflict, and
// nothing is written, when another process of this store has come further meanwhile.
Result<> WriteFeedCopy(db::Tx& tx, const FeedHead& have, const FeedDocument& next);
// The words with a number above `since`, in order, at most `limit`.
Result<std::vector<FeedEntry>> ReadCopiedWords(db::Tx& tx, int64_t since, size_t limit);

// "Ann@Example.COM " → "ann@example.com": how addresses are compared and kept.
std::string NormalEmail(std::string_view email);

}  // namespace pontage::license
