#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "app/config.h"
#include "base/time.h"
#include "db/db.h"
#include "io/task.h"
#include "license/key_ring.h"
#include "license/signing_keys.h"
#include "net/client.h"
#include "obs/metrics.h"

namespace pontage::app {

// The public keys of `license.jwks` in a file, and that of `license.signing_key`; none where the
// configuration names neither. kConfig, naming key and fault, when one cannot be read.
Result<std::vector<crypto::Jwk>> ReadKeyFiles(const Config& config);
// Of a process that issues no license: of the key that does only the public half is kept. kConfig
// for a text that is no key, and nothing has changed.
Result<> KeepPublicHalf(LicenseConfig& license);
// Whether `license.jwks` names a URL.
bool HasKeyUrl(const Config& config);
// What a process believes that has these files and shares its store with the issuer: his books say
// more of a key than a file does.
std::vector<crypto::Jwk> Merged(std::vector<crypto::Jwk> files,
                                const std::vector<license::SigningKey>& books, UnixMs now);

// Keeps the process's ring of public keys as it should be while it runs: out of files, out of the
// issuer's books in a store that is shared with him, and, where he lives apart, out of the set that
// he publishes, of which a copy stays in the store. One loop's, but for what says otherwise.
class LicenseKeys {
 public:
  // kConfig for files or a URL that cannot be read. `client` belongs to the loop that this runs on.
  static Result<std::unique_ptr<LicenseKeys>> Make(const Config& config, db::Database& database,
                                                   std::unique_ptr<net::Client> client,
                                                   const Clock& clock, obs::Registry& metrics);

  // What the store knows, and the files where they have changed; true when the keys are others now.
  Task<bool> Read();
  // Asks the issuer elsewhere for his set once. kConflict for a set that may not be; what was
  // believed stays then.
  Task<> Fetch();
  // Both at the start, as far as they can be had within some seconds.
  Task<> Begin();
  // Both again and again; `books` hears after each look what the issuer's books say. Never ends by
  // itself.
  Task<> Follow(std::function<void(const std::vector<license::SigningKey>&)> books);
  // Other files from now on, as the configuration names them; from any thread. kConfig as above,
  // and nothing has changed.
  Result<> Reload(const Config& config);

  // From any loop: something is signed with a key that is not known here. Asks for the keys now and
  // gives true when they are others then. Because of what strangers show at most once a minute;
  // because of what the issuer's own server says, as often as he is asked.
  enum class Asker : uint8_t { kStranger, kIssuer };
  Task<bool> Learn(Asker asker);
  // The issuer says that his set is another one than the one with this digest was.
  void Heard(const std::string& digest);

  const std::shared_ptr<license::KeyRing>& ring() const { return ring_; }
  const std::vector<license::SigningKey>& books() const { return books_; }

 private:
  struct FileMark {
    int64_t inode = 0, size = 0, seconds = 0, nanos = 0;
    friend bool operator==(const FileMark&, const FileMark&) = default;
  };

  LicenseKeys(db::Database& database, const Clock& clock, obs::Registry& metrics);
  static FileMark MarkOf(const std::string& file);
  void LookAtFile();
  Task<> ReadStore();
  bool IsDue() const;
  void Use();  // under the lock

  db::Database& database_;
  const Clock& clock_;
  obs::Counter& refused_;
  std::string issuer_;
  std::optional<net::Url> url_;
  std::unique_ptr<net::Client> client_;
  std::string digest_;  // of the set that was fetched last
  std::string wanted_digest_;
  SteadyMs fetched_;  // or tried
  bool fetch_failed_ = true;

  // What the ring is made of, where a reload meets the loop that looks after it. Only that loop
  // writes the books, and may read them without the lock.
  std::mutex mutex_;
  std::string file_;  // of `license.jwks`; empty: none
  FileMark mark_;
  std::vector<crypto::Jwk> files_;
  std::vector<crypto::Jwk> own_;  // of the key that signs here
  std::vector<license::SigningKey> books_;
  std::vector<license::KnownKey> known_;
  std::shared_ptr<license::KeyRing> ring_ = std::make_shared<license::KeyRing>();

  std::atomic<bool> wanted_{false};
  std::atomic<int64_t> learned_ms_{INT64_MIN};
  std::atomic<uint64_t> looks_{0};
};

}  // namespace pontage::app
