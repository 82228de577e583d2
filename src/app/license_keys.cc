#include "app/license_keys.h"

#include <algorithm>
#include <utility>

#include <sys/stat.h>

#include "app/issuer_name.h"
#include "base/log.h"
#include "base/try.h"
#include "io/timer.h"

namespace pontage::app {
namespace {

constexpr std::string_view kFile = "file:";
// How often it looks whether somebody wants a key, and every how many of these at store and file.
constexpr Millis kTick{250};
constexpr int kTicksOfALook = 4;
constexpr Millis kStoreTimeout{10'000};
// Of the set of an issuer elsewhere: when all is well, and after one who could not be asked.
constexpr Millis kFetchEvery{60'000};
constexpr Millis kFetchAgain{5'000};
constexpr Millis kFetchTimeout{3'000};
// Strangers may show tokens of any key name: they make us ask once in that time.
constexpr Millis kLearnEvery{60'000};
constexpr Millis kLearnWait{3'000};
constexpr Millis kLearnStep{50};

struct Books {
  std::vector<license::SigningKey> own;
  std::vector<license::KnownKey> known;
};

std::string FileOf(const Config& config) {
  const std::string& from = config.license.jwks;
  return from.starts_with(kFile) ? from.substr(kFile.size()) : std::string();
}

Result<std::vector<crypto::Jwk>> ReadSet(const std::string& path) {
  if (path.empty()) return std::vector<crypto::Jwk>();
  const ConfigSources sources = ConfigSources::System();
  const Result<std::string> text = sources.read_file(path);
  if (!text) return Fail(Code::kConfig, "license.jwks: " + text.error().detail());
  Result<std::vector<crypto::Jwk>> read = crypto::ParseJwks(*text);
  if (read) return read;
  return Fail(Code::kConfig,
              "license.jwks: " + path + read.error().pointer() + ": " + read.error().detail());
}

// The public half of the key that signs here, if one does.
Result<std::vector<crypto::Jwk>> ReadOwn(const LicenseConfig& license) {
  if (license.signing_key.empty()) return license.public_half;
  const Result<crypto::Ed25519Key> key = crypto::ParsePrivatePem(license.signing_key);
  if (!key) {
    return Fail(Error(Code::kConfig, "license.signing_key: " + key.error().detail())
                    .Want(key.error().expected()));
  }
  const crypto::Ed25519PublicKey& open = key->public_key();
  return std::vector<crypto::Jwk>{
      {.kid = crypto::Thumbprint(open), .key = open, .not_after = std::nullopt}};
}

void Add(std::vector<crypto::Jwk>& keys, const crypto::Jwk& key) {
  if (std::ranges::find(keys, key.kid, &crypto::Jwk::kid) == keys.end()) keys.push_back(key);
}

}  // namespace

Result<> KeepPublicHalf(LicenseConfig& license) {
  PTG_TRY(license.public_half, ReadOwn(license));
  license.signing_key = Secret();
  return {};
}

bool HasKeyUrl(const Config& config) {
  return !config.license.jwks.empty() && FileOf(config).empty();
}

Result<std::vector<crypto::Jwk>> ReadKeyFiles(const Config& config) {
  PTG_TRY(std::vector<crypto::Jwk> keys, ReadSet(FileOf(config)));
  PTG_TRY(const std::vector<crypto::Jwk> own, ReadOwn(config.license));
  for (const crypto::Jwk& jwk : own) Add(keys, jwk);
  return keys;
}

std::vector<crypto::Jwk> Merged(std::vector<crypto::Jwk> files,
                                const std::vector<license::SigningKey>& books, UnixMs now) {
  const auto known = [&books](const crypto::Jwk& jwk) {
    return std::ranges::find(books, jwk.kid, &license::SigningKey::kid) != books.end();
  };
  std::erase_if(files, known);
  for (const crypto::Jwk& jwk : license::DocumentOf(books, now).keys) files.push_back(jwk);
  return files;
}

LicenseKeys::LicenseKeys(db::Database& database, const Clock& clock, obs::Registry& metrics)
    : database_(database),
      clock_(clock),
      refused_(metrics.CounterOf("pontage_license_keys_refused_total",
                                 "Sets of an issuer's keys that were not believed.")) {}

Result<std::unique_ptr<LicenseKeys>> LicenseKeys::Make(const Config& config, db::Database& database,
                                                       std::unique_ptr<net::Client> client,
                                                       const Clock& clock, obs::Registry& metrics) {
  std::unique_ptr<LicenseKeys> made(new LicenseKeys(database, clock, metrics));
  made->issuer_ = IssuerName(config);
  made->client_ = std::move(client);
  if (HasKeyUrl(config)) {
    PTG_TRY(made->url_, net::ParseUrl(config.license.jwks));
  }
  PTG_RUN(made->Reload(config));
  return made;
}

Result<> LicenseKeys::Reload(const Config& config) {
  std::string file = FileOf(config);
  const FileMark mark = MarkOf(file);
  PTG_TRY(std::vector<crypto::Jwk> read, ReadSet(file));
  PTG_TRY(std::vector<crypto::Jwk> own, ReadOwn(config.license));
  const std::scoped_lock lock(mutex_);
  file_ = std::move(file);
  mark_ = mark;
  files_ = std::move(read);
  own_ = std::move(own);
  Use();
  return {};
}

LicenseKeys::FileMark LicenseKeys::MarkOf(const std::string& file) {
  struct stat s{};
  if (file.empty() || stat(file.c_str(), &s) != 0) return {};
  return {static_cast<int64_t>(s.st_ino), static_cast<int64_t>(s.st_size),
          static_cast<int64_t>(s.st_mtim.tv_sec), static_cast<int64_t>(s.st_mtim.tv_nsec)};
}

void LicenseKeys::Use() {
  std::vector<crypto::Jwk> files = files_;
  for (const crypto::Jwk& jwk : own_) Add(files, jwk);
  std::vector<crypto::Jwk> keys = Merged(std::move(files), books_, clock_.Now());
  for (const crypto::Jwk& jwk : license::Believed(known_)) Add(keys, jwk);
  // What its own key said against itself is not believed from a file either.
  std::erase_if(keys, [this](const crypto::Jwk& jwk) {
    return std::ranges::any_of(known_, [&jwk](const license::KnownKey& known) {
      return known.revoked && known.jwk.kid == jwk.kid;
    });
  });
  if (!ring_->Replace(std::move(keys))) return;
  std::string names;
  const license::KeyRing::Keys now = ring_->keys();
  for (const auto& [jwk, head] : *now) names += (names.empty() ? "" : ", ") + jwk.kid;
  Log(LogLevel::kInfo, "licenses.keys", {{"count", now->size()}, {"keys", names}});
}

Task<> LicenseKeys::ReadStore() {
  const std::string issuer = issuer_;
  const auto read = [issuer](db::Tx& tx) -> Result<Books> {
    Books books;
    PTG_TRY(books.own, license::ReadSigningKeys(tx));
    PTG_TRY(books.known, license::ReadKnownKeys(tx, issuer));
    return books;
  };
  const Deadline by = Deadline::In(clock_, kStoreTimeout);
  PTG_CO_TRY(Books books, co_await database_.Read(read, by));
  const std::scoped_lock lock(mutex_);
  books_ = std::move(books.own);
  // Another process of this store may have asked the issuer, too.
  if (url_) known_ = std::move(books.known);
  Use();
  co_return {};
}

void LicenseKeys::LookAtFile() {
  const std::scoped_lock lock(mutex_);
  const FileMark mark = MarkOf(file_);
  if (mark == mark_ || mark == FileMark{}) return;
  mark_ = mark;
  Result<std::vector<crypto::Jwk>> keys = ReadSet(file_);
  if (keys) {
    files_ = *std::move(keys);
  } else {
    Log(LogLevel::kWarn, "licenses.keys_unreadable", {{"detail", keys.error().detail()}});
  }
}

Task<bool> LicenseKeys::Read() {
  const uint64_t before = ring_->version();
  LookAtFile();
  PTG_CO_RUN(co_await ReadStore());
  co_return ring_->version() != before;
}

Task<> LicenseKeys::Fetch() {
  fetched_ = clock_.Steady();
  fetch_failed_ = true;
  net::RequestHead head;
  head.method = "GET";
  head.target = url_->path;
  head.headers.Add("Accept", "application/jwk-set+json, application/json");
  std::string none;
  const Deadline by = Deadline::In(clock_, kFetchTimeout);
  PTG_CO_TRY(
      const net::Client::Whole answer,
      co_await client_->Fetch(*url_, std::move(head), std::move(none), crypto::kMaxJwksBytes, by));
  if (answer.head.status != 200) {
    co_return Fail(Code::kUpstreamProtocol,
                   "the issuer answered " + std::to_string(answer.head.status));
  }
  PTG_CO_TRY(const license::KeyDocument next, license::ReadKeyDocument(answer.body));
  const std::string issuer = issuer_;
  const UnixMs now = clock_.Now();
  // In one transaction: processes that share the store take over after each other.
  const auto take = [&](db::Tx& tx) -> Result<std::vector<license::KnownKey>> {
    PTG_TRY(const std::vector<license::KnownKey> have, license::ReadKnownKeys(tx, issuer));
    PTG_TRY(std::vector<license::KnownKey> all, license::TakeOver(have, next, issuer, now));
    if (all != have) PTG_RUN(license::WriteKnownKeys(tx, issuer, all));
    return all;
  };
  const Deadline write_by = Deadline::In(clock_, kStoreTimeout);
  Result<std::vector<license::KnownKey>> taken = co_await database_.Write(take, write_by);
  if (!taken) {
    refused_.Add();
    co_return std::unexpected(std::move(taken).error());
  }
  digest_ = license::DigestOf(next);
  fetch_failed_ = false;
  const std::scoped_lock lock(mutex_);
  known_ = *std::move(taken);
  Use();
  co_return {};
}

Task<> LicenseKeys::Begin() {
  PTG_CO_RUN(co_await Read());
  if (!url_) co_return {};
  const Result<> asked = co_await Fetch();
  if (!asked) Log(LogLevel::kWarn, "licenses.keys_not_heard", {{"detail", asked.error().detail()}});
  co_return {};
}

bool LicenseKeys::IsDue() const {
  const Millis since = clock_.Steady() - fetched_;
  const bool behind = fetch_failed_ || (!wanted_digest_.empty() && wanted_digest_ != digest_);
  return since >= (behind ? kFetchAgain : kFetchEvery);
}

Task<> LicenseKeys::Follow(std::function<void(const std::vector<license::SigningKey>&)> books) {
  for (int tick = 1;; ++tick) {
    PTG_CO_RUN(co_await Sleep(kTick));
    const bool wanted = wanted_.load();
    if (!wanted && tick % kTicksOfALook != 0) continue;
    const Result<bool> read = co_await Read();
    if (!read) Log(LogLevel::kWarn, "licenses.unreachable", {{"detail", read.error().detail()}});
    if (url_ && (wanted || IsDue())) {
      const Result<> asked = co_await Fetch();
      if (!asked) {
        Log(LogLevel::kWarn, "licenses.keys_not_heard", {{"detail", asked.error().detail()}});
      }
    }
    if (books) books(books_);
    if (wanted) wanted_ = false;
    ++looks_;
  }
}

Task<bool> LicenseKeys::Learn(Asker asker) {
  const uint64_t looks = looks_.load();
  const uint64_t version = ring_->version();
  const int64_t now = clock_.Steady().ms();
  int64_t last = learned_ms_.load();
  const bool may = last == INT64_MIN || now - last >= kLearnEvery.count();
  if (asker == Asker::kIssuer || (may && learned_ms_.compare_exchange_strong(last, now))) {
    wanted_ = true;
  }
  // Who comes while it is being asked waits with the one who made it ask.
  if (!wanted_.load()) co_return ring_->version() != version;
  for (Millis waited{0}; waited < kLearnWait && looks_.load() == looks; waited += kLearnStep) {
    PTG_CO_RUN(co_await Sleep(kLearnStep));
  }
  co_return ring_->version() != version;
}

void LicenseKeys::Heard(const std::string& digest) { wanted_digest_ = digest; }

}  // namespace pontage::app
