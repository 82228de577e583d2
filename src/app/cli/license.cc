#include <algorithm>

#include "app/cli/commands.h"
#include "app/cli/license_books.h"
#include "app/licenses.h"
#include "app/signing.h"
#include "base/id.h"
#include "base/try.h"
#include "ledger/audit.h"
#include "license/decision.h"
#include "license/license_store.h"
#include "license/usage_store.h"
#include "license/verifier.h"
#include "sales/mail/message.h"

// Licenses by hand: what the role `sales` does for those who buy, for whoever runs the house.
namespace pontage::app {
namespace {

using codec::Json;
using license::License;
using license::Status;

constexpr Millis kDay{86'400'000};

int Print(const CommonOptions& common, const Json& json) {
  if (WantsJson(common)) {
    PrintJson(json);
    return kDone;
  }
  for (const codec::JsonMember& member : *json.AsObject()) {
    const std::string* text = member.value.AsString();
    const std::string value = text != nullptr ? *text : codec::ToString(member.value);
    if (value.empty() || value == "[]") continue;
    PrintLine(member.key + std::string(std::max<size_t>(1, 14 - member.key.size()), ' ') + value);
  }
  return kDone;
}

// What no gateway would take is not sold: the console's rules.
Result<> CheckBuyer(const LicenseOptions& options) {
  if (!license::IsCustomer(options.customer)) {
    return Fail(
        Error(Code::kUsage, "--customer: no such name")
            .Want("1 to " + std::to_string(license::kMostCustomer) + " characters on one line"));
  }
  if (options.email.empty()) return {};
  if (const auto good = mail::CheckMailbox(license::NormalEmail(options.email)); !good) {
    return Fail(Error(Code::kUsage, "--email: " + good.error().detail()).Want("name@example.com"));
  }
  return {};
}

Result<License> NewLicense(const Config& config, const LicenseOptions& options, UnixMs now) {
  const auto plan = std::ranges::find(config.plans, options.plan, &PlanConfig::name);
  if (plan == config.plans.end()) {
    std::string names;
    for (const PlanConfig& one : config.plans) names += (names.empty() ? "" : ", ") + one.name;
    return Fail(Error(Code::kUsage, "--plan " + options.plan + ": there is no such plan")
                    .Want(names.empty() ? "a [[plan]] in the configuration" : names));
  }
  License l;
  l.id = NewIdText("lic", Clock::System(), Rng::System());
  l.origin = "operator:" + l.id;
  l.customer = options.customer;
  l.email = license::NormalEmail(options.email);
  l.plan = plan->name;
  l.products = plan->products;
  l.tier = plan->tier;
  l.limits = PlanTermsOf(config).find(plan->name)->second.limits;
  const int64_t days = options.days > 0 ? options.days : DaysOf(*plan);
  // Whole seconds, as the token has them: both say the same instant.
  l.issued = UnixMs::FromSeconds(now.seconds());
  l.paid_through = l.issued + days * kDay;
  l.expires = l.paid_through + config.license.grace_days * kDay;
  l.signed_until = l.expires;
  return l;
}

// The text that is shown to whoever may see it: written anew from the books.
Json WithText(const Config& config, const Signing& signing, const License& l, UnixMs now) {
  Json json = license::ToJson(l, now);
  Json out = Json::Object({{"license", signing.Issue(license::ClaimsOf(l, IssuerName(config)))}});
  for (codec::JsonMember& member : std::vector<codec::JsonMember>(*json.AsObject())) {
    out.Set(member.key, std::move(member.value));
  }
  return out;
}

Result<License> Find(db::Tx& tx, const std::string& id) {
  PTG_TRY(std::optional<License> found, license::FindLicense(tx, id));
  if (!found) return Fail(Code::kNotFound, "there is no license " + id);
  return *std::move(found);
}

// The key that signs by the books.
Result<std::unique_ptr<Signing>> OpenSigning(const Config& config, db::Database& database) {
  PTG_TRY(std::unique_ptr<Signing> signing, Signing::Make(config, Clock::System()));
  const auto read = [](db::Tx& tx) { return license::ReadSigningKeys(tx); };
  PTG_TRY(std::vector<license::SigningKey> books, database.ReadNow(read));
  PTG_RUN(signing->Use(std::move(books)));
  return signing;
}

// A license's id: as it is, or out of the license itself.
Result<std::string> IdOf(const Config& config, db::Database& database, const std::string& text) {
  if (!license::Verifier::LooksLikeOne(text)) return text;
  PTG_TRY(const auto verifier, LoadVerifier(config, database));
  if (!verifier) return Fail(Code::kConfig, "there is no key to read a license with");
  PTG_TRY(const license::Verified verified, verifier->Read(text, Clock::System().Now()));
  return verified.claims.id;
}

Result<> TellAudit(db::Tx& tx, std::string_view verb, const std::string& before, const License& l) {
  ledger::AuditEntry entry;
  entry.actor = Author();
  entry.verb = verb;
  entry.subject = l.id;
  entry.before = before;
  entry.after = license::AuditText(l);
  entry.reason = l.reason;
  PTG_RUN(ledger::AppendAudit(tx, std::move(entry), Clock::System().Now()));
  return {};
}

// Changes one license by `change`, which gives false for one that is already as it should be, and
// gives it as it is then. `verb`: as the audit calls it.
template <typename F>
Result<License> Change(const Config& config, db::Database& database, const std::string& name,
                       std::string_view verb, F change) {
  PTG_TRY(const std::string id, IdOf(config, database, name));
  const auto body = [&](db::Tx& tx) -> Result<License> {
    PTG_TRY(std::optional<License> found, license::FindLicenseToWrite(tx, id));
    if (!found) return Fail(Code::kNotFound, "there is no license " + id);
    License l = *std::move(found);
    const std::string before = license::AuditText(l);
    PTG_TRY(const bool differs, change(l));
    if (!differs) return l;
    PTG_TRY(const bool changed, license::UpdateLicense(tx, l, Clock::System().Now()));
    if (!changed)
      return Fail(Code::kConflict, "the license " + id + " was revoked by the operator");
    PTG_RUN(TellAudit(tx, verb, before, l));
    return l;
  };
  return WriteAgain(database, body);
}

}  // namespace

int LicenseIssue(const CommonOptions& common, const LicenseOptions& options) {
  if (const auto good = CheckBuyer(options); !good) return FailWith(common, good.error());
  const auto config = LoadConfigOrComplain(common, {.secrets = false});
  if (!config) return kFailed;
  const UnixMs now = Clock::System().Now();
  const auto made = NewLicense(*config, options, now);
  if (!made) return FailWith(common, made.error());
  const auto database = OpenLicenses(*config);
  if (!database) return FailWith(common, database.error());
  const auto signing = OpenSigning(*config, **database);
  if (!signing) return FailWith(common, signing.error());
  const auto written = WriteAgain(**database, [&](db::Tx& tx) -> Result<> {
    PTG_RUN(license::InsertLicense(tx, *made, now));
    return TellAudit(tx, "license.issue", "", *made);
  });
  if (!written) return FailWith(common, written.error());
  return Print(common, WithText(*config, **signing, *made, now));
}

int LicenseShow(const CommonOptions& common, const LicenseNameOptions& options) {
  const auto config = LoadConfigOrComplain(common, {.secrets = false});
  if (!config) return kFailed;
  const auto database = OpenLicenses(*config);
  if (!database) return FailWith(common, database.error());
  const auto id = IdOf(*config, **database, options.name);
  if (!id) return FailWith(common, id.error());
  const UnixMs now = Clock::System().Now();
  const auto read = [&](db::Tx& tx) -> Result<Json> {
    PTG_TRY(const License found, Find(tx, *id));
    Json json = license::ToJson(found, now);
    PTG_TRY(const license::Usage usage, license::ReadUsage(tx, *id, now));
    // Gateways apart write theirs in a store of their own.
    if (usage.days.empty()) return json;
    if (WantsJson(common)) {
      json.Set("usage", license::ToJson(usage));
    } else {
      json.Set("calls", std::to_string(usage.today) + " today, " + std::to_string(usage.month) +
                            " this month");
    }
    return json;
  };
  const Result<Json> shown = (*database)->ReadNow(read);
  if (!shown) return FailWith(common, shown.error());
  return Print(common, *shown);
}

int LicenseVerify(const CommonOptions& common, const LicenseNameOptions& options) {
  const auto config = LoadConfigOrComplain(common, {.secrets = false});
  if (!config) return kFailed;
  const auto database = OpenLicenses(*config);
  if (!database) return FailWith(common, database.error());
  const auto verifier = LoadVerifier(*config, **database);
  if (!verifier) return FailWith(common, verifier.error());
  if (!*verifier) {
    return FailWith(common, Error(Code::kConfig, "there is no key to verify a license with")
                                .Want("jwks or signing_key under [license]"));
  }
  const UnixMs now = Clock::System().Now();
  const auto verified = (*verifier)->Read(options.name, now);
  if (!verified) return FailWith(common, verified.error());
  const license::Claims& claims = verified->claims;
  // And what the books here know of it, if they know it.
  const auto find = [&claims](db::Tx& tx) { return license::FindLicense(tx, claims.id); };
  const auto known = (*database)->ReadNow(find);
  if (!known) return FailWith(common, known.error());
  std::optional<license::Entitlement> word;
  if (*known) word = license::WordOf(**known);
  const std::string plan = word ? word->plan : claims.plan;
  license::Demand all{.product = {}, .plans = {&plan, 1}};
  if (!claims.products.empty()) all.product = claims.products.front();
  if (const auto good = license::Decide(claims, word, all, now); !good) {
    return FailWith(common, good.error());
  }
  Json json = Json::Object({{"valid", true}, {"id", claims.id}});
  json.Set("expires_at", license::EndOf(claims, word).Rfc3339());
  json.Set("claims", license::ToJson(claims));
  return Print(common, json);
}

int LicenseRevoke(const CommonOptions& common, const LicenseNameOptions& options) {
  const auto config = LoadConfigOrComplain(common, {.secrets = false});
  if (!config) return kFailed;
  const auto database = OpenLicenses(*config);
  if (!database) return FailWith(common, database.error());
  bool already = false;
  const auto revoke = [&options, &already](License& l) -> Result<bool> {
    // What was said of it then stays.
    already = l.revoked_by == "operator";
    if (already) return false;
    l.status = Status::kRevoked;
    l.revoked_by = "operator";
    l.reason = options.reason;
    return true;
  };
  const auto changed = Change(*config, **database, options.name, "license.revoke", revoke);
  if (!changed) return FailWith(common, changed.error());
  if (already) Complain("pontage: the license " + changed->id + " was revoked already");
  return Print(common, license::ToJson(*changed, Clock::System().Now()));
}

int LicenseReissue(const CommonOptions& common, const LicenseNameOptions& options) {
  const auto overlap = license::ParseOverlap(options.overlap);
  if (!overlap) {
    return FailWith(common, Error(Code::kUsage,
                                  "--overlap " + options.overlap + ": " + overlap.error().detail())
                                .Want(overlap.error().expected()));
  }
  const auto config = LoadConfigOrComplain(common, {.secrets = false});
  if (!config) return kFailed;
  const auto database = OpenLicenses(*config);
  if (!database) return FailWith(common, database.error());
  const auto signing = OpenSigning(*config, **database);
  if (!signing) return FailWith(common, signing.error());
  const UnixMs now = Clock::System().Now();
  const auto reissue = [&](License& l) -> Result<bool> {
    if (l.status == Status::kRevoked) {
      return Fail(Code::kConflict, "the license " + l.id + " is revoked");
    }
    license::Replace(l, now, *overlap);
    l.reason = options.reason;
    return true;
  };
  const auto changed = Change(*config, **database, options.name, "license.reissue", reissue);
  if (!changed) return FailWith(common, changed.error());
  return Print(common, WithText(*config, **signing, *changed, now));
}

}  // namespace pontage::app
