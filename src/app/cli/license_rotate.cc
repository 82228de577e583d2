// `pontage license rotate`: another key signs from some moment on, and nobody's license stops.
#include <algorithm>
#include <array>
#include <unistd.h>

#include <sys/stat.h>

#include "app/cli/commands.h"
#include "app/cli/files.h"
#include "app/cli/license_books.h"
#include "app/licenses.h"
#include "app/sales_wiring.h"
#include "app/signing.h"
#include "base/try.h"
#include "io/runtime.h"
#include "io/timer.h"
#include "ledger/audit.h"
#include "license/signing_keys.h"
#include "sales/key_rotation.h"

namespace pontage::app {
namespace {

using codec::Json;
using license::KeyState;
using license::SigningKey;

// Every process of a store looks at the books each second.
constexpr Millis kAllInOne{5'000};
// A gateway elsewhere asks for the keys each minute.
constexpr Millis kApart{600'000};
// So long the command waits until the new key signs.
constexpr Millis kWaitAtMost{30'000};
constexpr size_t kBatch = 200;

struct KeyFile {
  std::string kid;
  crypto::Ed25519PublicKey open{};
};

Result<KeyFile> ReadKeyFile(const std::string& path) {
  const ConfigSources sources = ConfigSources::System();
  PTG_TRY(std::string text, sources.read_file(path));
  const Secret pem(std::move(text));
  const Result<crypto::Ed25519Key> key = crypto::ParsePrivatePem(pem);
  if (!key) return Fail(Code::kConfig, path + ": " + key.error().detail());
  return KeyFile{.kid = crypto::Thumbprint(key->public_key()), .open = key->public_key()};
}

// As far as it is known without a server.
std::string PublicUrl(const Config& config) {
  const std::string& said = config.server.public_url;
  return said.empty() ? "http://" + config.server.listen.front() : said;
}

Result<> TellAudit(db::Tx& tx, std::string_view verb, const std::string& kid, Json after,
                   UnixMs now) {
  ledger::AuditEntry entry;
  entry.actor = Author();
  entry.verb = verb;
  entry.subject = kid;
  entry.after = codec::ToString(after);
  PTG_RUN(ledger::AppendAudit(tx, std::move(entry), now));
  return {};
}

class Rotation {
 public:
  Rotation(const Config& config, db::Database& database)
      : config_(config),
        database_(database),
        file_(config.license.signing_key_file),
        next_(NextKeyFile(config)) {}

  // `after`: none is as long as every gateway needs.
  Result<> Run(bool compromised, std::optional<Millis> after);
  Result<Json> Report();

 private:
  UnixMs Now() const { return Clock::System().Now(); }
  Result<> ReadBooks();
  // The file of the key that signs is where the configuration says; what a command before this one
  // began is brought to its end.
  Result<> Tidy();
  Result<KeyFile> NewKey();
  Result<> Stage(const KeyFile& next, UnixMs signs_from);
  Result<> Revoke(const KeyFile& old, const KeyFile& next);
  Result<> ReissueAll(UnixMs before);
  Result<> WriteSet();
  Result<> Finish();

  const Config& config_;
  db::Database& database_;
  const std::string file_;
  const std::string next_;
  std::vector<SigningKey> books_;
  size_t reissued_ = 0;
};

Result<> Rotation::ReadBooks() {
  PTG_TRY(books_, database_.ReadNow([](db::Tx& tx) { return license::ReadSigningKeys(tx); }));
  return {};
}

Result<> Rotation::Tidy() {
  PTG_RUN(ReadBooks());
  const Result<KeyFile> next = ReadKeyFile(next_);
  if (!next) return {};
  const SigningKey* signer = license::SignerOf(books_, Now());
  if (signer != nullptr && signer->kid == next->kid) return MoveFile(next_, file_);
  return {};
}

Result<KeyFile> Rotation::NewKey() {
  // One that was made and never came into the books is as good as another.
  if (access(next_.c_str(), F_OK) == 0) return ReadKeyFile(next_);
  std::array<uint8_t, 32> bytes{};
  Rng::System().Fill(bytes);
  const Secret seed{std::string(codec::AsText(bytes))};
  bytes.fill(0);
  const Secret pem = crypto::PrivatePem(seed);
  PTG_RUN(WriteNewFile(next_, pem.Reveal(), 0600));
  struct stat old{};
  if (stat(file_.c_str(), &old) == 0) (void)!chown(next_.c_str(), old.st_uid, old.st_gid);
  return ReadKeyFile(next_);
}

Result<> Rotation::Stage(const KeyFile& next, UnixMs signs_from) {
  PTG_TRY(const KeyFile now, ReadKeyFile(file_));
  const UnixMs at = Now();
  const auto write = [&](db::Tx& tx) -> Result<> {
    PTG_TRY(const std::vector<SigningKey> books, license::ReadSigningKeys(tx));
    const auto has = [&books](const std::string& kid) {
      return std::ranges::find(books, kid, &SigningKey::kid) != books.end();
    };
    if (!has(now.kid)) {
      SigningKey first{.kid = now.kid, .key = now.open, .created = at, .signs_from = UnixMs(0)};
      for (const SigningKey& one : books) {
        first.signs_from = std::max(first.signs_from, one.signs_from + Millis(1));
      }
      PTG_RUN(license::InsertSigningKey(tx, first));
    }
    if (has(next.kid)) return {};
    PTG_RUN(license::InsertSigningKey(
        tx, {.kid = next.kid, .key = next.open, .created = at, .signs_from = signs_from}));
    Json after = Json::Object({{"signs_from", signs_from.Rfc3339()}, {"before", now.kid}});
    return TellAudit(tx, "key.rotate", next.kid, std::move(after), at);
  };
  PTG_RUN(WriteAgain(database_, write));
  return ReadBooks();
}

Result<> Rotation::Revoke(const KeyFile& old, const KeyFile& next) {
  PTG_TRY(const license::Issuer issuer, LoadIssuer(config_));
  const UnixMs at = Now();
  // Said by the key itself: no gateway needs another one to believe it.
  const std::string word = issuer.Sign(license::kRevocationType,
                                       license::RevocationText(IssuerName(config_), old.kid, at));
  PTG_RUN(Stage(next, at));
  const auto write = [&](db::Tx& tx) -> Result<> {
    PTG_RUN(license::RevokeSigningKey(tx, old.kid, word, at));
    Json after = Json::Object({{"revoked_at", at.Rfc3339()}, {"next", next.kid}});
    return TellAudit(tx, "key.revoke", old.kid, std::move(after), at);
  };
  PTG_RUN(WriteAgain(database_, write));
  PTG_RUN(MoveFile(next_, file_));
  PTG_RUN(ReadBooks());
  return ReissueAll(sales::ReissueTime(at));
}

Result<> Rotation::ReissueAll(UnixMs before) {
  const ConfigSources sources = ConfigSources::System();
  PTG_TRY(std::string text, sources.read_file(file_));
  PTG_TRY(const license::Issuer issuer, license::Issuer::FromPem(Secret(std::move(text))));
  const sales::Shop shop = ShopOf(config_, PublicUrl(config_));
  const sales::Reissuing with{.shop = shop,
                              .text =
                                  [&](const license::License& l) {
                                    return issuer.Issue(license::ClaimsOf(l, IssuerName(config_)));
                                  },
                              .kid = crypto::Thumbprint(issuer.public_key())};
  while (true) {
    const auto batch = [&](db::Tx& tx) {
      return sales::ReissueBefore(tx, before, with, kBatch, Now(), Clock::System(), Rng::System());
    };
    PTG_TRY(const size_t done, WriteAgain(database_, batch));
    reissued_ += done;
    if (done == 0) return {};
  }
}

// For gateways that read it as a file.
Result<> Rotation::WriteSet() {
  constexpr std::string_view kFile = "file:";
  if (!config_.license.jwks.starts_with(kFile)) return {};
  PTG_TRY(std::vector<crypto::Jwk> files, ReadKeyFiles(config_));
  const UnixMs now = Now();
  license::KeyDocument document = license::DocumentOf(books_, now);
  document.keys = Merged(std::move(files), books_, now);
  return ReplaceFile(config_.license.jwks.substr(kFile.size()),
                     codec::ToString(license::ToJson(document)) + '\n', 0644);
}

Result<> Rotation::Finish() {
  const UnixMs now = Now();
  PTG_RUN(WriteAgain(database_, [now](db::Tx& tx) { return license::AnnounceEnds(tx, now); }));
  PTG_RUN(Tidy());
  return WriteSet();
}

Result<> Rotation::Run(bool compromised, std::optional<Millis> wanted) {
  if (file_.empty()) {
    return Fail(Error(Code::kConfig, "license.signing_key lies in no file")
                    .Want("signing_key = \"file:license.pem\", which can be replaced"));
  }
  PTG_RUN(Tidy());
  PTG_TRY(const KeyFile old, ReadKeyFile(file_));
  const auto staged = std::ranges::find_if(
      books_, [&](const SigningKey& k) { return StateOf(books_, k, Now()) == KeyState::kStaged; });
  if (staged != books_.end() && !compromised) {
    return Fail(Error(Code::kConflict, "a rotation is under way: the key " + staged->kid +
                                           " signs from " + staged->signs_from.Rfc3339() + " on")
                    .Want("to wait until then, or --compromised"));
  }
  PTG_TRY(const KeyFile next, NewKey());
  if (compromised) {
    PTG_RUN(Revoke(old, next));
    return Finish();
  }
  const Millis after = wanted.value_or(config_.routes.empty() ? kApart : kAllInOne);
  const UnixMs signs_from = Now() + after;
  PTG_RUN(Stage(next, signs_from));
  PTG_RUN(WriteSet());
  if (after > kWaitAtMost) return {};
  // The new key signs when every process of this store knows it.
  if (const Millis left = signs_from - Now(); left > Millis(0)) {
    Loop loop;
    PTG_RUN(loop.RunUntilDone(Sleep(left + Millis(1))));
  }
  return Finish();
}

Result<Json> Rotation::Report() {
  PTG_RUN(ReadBooks());
  const UnixMs now = Now();
  Json keys = Json::Array();
  Json json = Json::Object();
  const SigningKey* newest = nullptr;
  for (const SigningKey& key : books_) {
    if (newest == nullptr || key.created >= newest->created) newest = &key;
    Json one = Json::Object({{"kid", key.kid},
                             {"state", license::ToString(StateOf(books_, key, now))},
                             {"signs_from", key.signs_from.Rfc3339()}});
    if (key.not_after) one.Set("not_after", key.not_after->Rfc3339());
    if (key.revoked_at) one.Set("revoked_at", key.revoked_at->Rfc3339());
    keys.Push(std::move(one));
  }
  if (newest != nullptr) {
    json.Set("kid", newest->kid);
    json.Set("state", license::ToString(StateOf(books_, *newest, now)));
    json.Set("signs_from", newest->signs_from.Rfc3339());
  }
  if (const SigningKey* signer = license::SignerOf(books_, now)) json.Set("signing", signer->kid);
  json.Set("reissued", static_cast<int64_t>(reissued_));
  json.Set("keys", std::move(keys));
  return json;
}

void PrintTable(const Json& json) {
  std::vector<std::vector<std::string>> rows;
  for (const Json& key : *json.Find("keys")->AsArray()) {
    std::vector<std::string> row;
    for (const char* name : {"kid", "state", "signs_from", "not_after"}) {
      const Json* value = key.Find(name);
      row.push_back(value == nullptr ? "" : *value->AsString());
    }
    rows.push_back(std::move(row));
  }
  PrintLine(FormatTable({"KEY", "STATE", "SIGNS FROM", "GOOD UNTIL"}, rows));
}

}  // namespace

int LicenseRotate(const CommonOptions& common, const RotateOptions& options) {
  std::optional<Millis> after;
  if (!options.after.empty()) {
    const auto read = ParseDuration(options.after);
    if (!read) {
      return FailWith(common,
                      Error(Code::kUsage, "--after " + options.after + ": " + read.error().detail())
                          .Want("\"10m\""));
    }
    after = *read;
  }
  const auto config = LoadConfigOrComplain(common, {.secrets = false});
  if (!config) return kFailed;
  const auto database = OpenLicenses(*config);
  if (!database) return FailWith(common, database.error());
  Rotation rotation(*config, **database);
  if (const auto done = rotation.Run(options.compromised, after); !done)
    return FailWith(common, done.error());
  const auto report = rotation.Report();
  if (!report) return FailWith(common, report.error());
  if (WantsJson(common)) {
    PrintJson(*report);
  } else {
    PrintTable(*report);
  }
  return kDone;
}

}  // namespace pontage::app
