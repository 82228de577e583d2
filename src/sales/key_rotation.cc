#include "sales/key_rotation.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/id.h"
#include "base/log.h"
#include "base/try.h"
#include "sales/claim.h"
#include "sales/mail/mail_outbox.h"
#include "sales/mail/templates.h"

namespace pontage::sales {
namespace {

// One that cannot be written to costs no license; who looks at the log can give it to him.
Result<> Tell(db::Tx& tx, const license::License& l, const Reissuing& with, UnixMs now,
              const Clock& clock, Rng& rng) {
  if (l.email.empty()) return {};
  PTG_TRY(mail::LicenseGiven given, GiveByMail(tx, with.shop, l, with.text(l), now, rng));
  const mail::Mail mail = mail::WriteKeyRotation(
      with.shop.seller, {.given = std::move(given), .kid = with.kid, .old_until = now});
  const Result<bool> enqueued = mail::Enqueue(tx, NewIdText("mail", clock, rng), mail, l.id, now);
  if (enqueued) return {};
  if (enqueued.error().code() != Code::kBadRequest) {
    return std::unexpected(std::move(enqueued).error());
  }
  Log(LogLevel::kWarn, "sales.unmailable",
      {{"license_id", l.id}, {"pointer", enqueued.error().pointer()}});
  return {};
}

// For good.
bool IsShut(license::Status status) {
  return status == license::Status::kRevoked || status == license::Status::kExpired;
}

}  // namespace

Result<size_t> ReissueBefore(db::Tx& tx, UnixMs before, const Reissuing& with, size_t limit,
                             UnixMs now, const Clock& clock, Rng& rng) {
  PTG_TRY(const std::vector<license::License> due,
          license::ListLiveIssuedBefore(tx, before, now, limit));
  for (const license::License& one : due) {
    PTG_TRY(const std::optional<license::License> now_is, license::FindLicenseToWrite(tx, one.id));
    // Somebody may have written it since the list was read.
    if (!now_is || IsShut(now_is->status) || now_is->issued >= before) continue;
    license::License l = *now_is;
    license::Replace(l, now, Millis(0));
    l.reason = "the signing key became known to others";
    // So that it counts as done, also within the second of `before`.
    l.issued = std::max(l.issued, before);
    PTG_RUN(license::UpdateLicense(tx, l, now));
    PTG_RUN(Tell(tx, l, with, now, clock, rng));
  }
  return due.size();
}

}  // namespace pontage::sales
