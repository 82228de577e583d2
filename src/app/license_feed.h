#pragma once

#include <functional>
#include <memory>
#include <string>

#include "app/license_keys.h"
#include "base/time.h"
#include "db/db.h"
#include "io/task.h"
#include "license/entitlements.h"
#include "license/freshness.h"
#include "license/license_store.h"
#include "license/verifier.h"
#include "net/client.h"
#include "obs/metrics.h"

namespace pontage::app {

// Follows what the issuer says of licenses: in the store that this process shares with him, or,
// where he lives apart, by asking him and keeping a copy. One loop's.
class LicenseFeed {
 public:
  // An issuer elsewhere.
  struct Remote {
    explicit Remote(LicenseKeys& k) : keys(k) {}
    LicenseKeys& keys;  // which may be told of new ones here
    net::Url url;       // of his /v1/entitlements
    std::shared_ptr<const license::Verifier> verifier;
    std::unique_ptr<net::Client> client;
  };
  // `remote` empty: the store is the issuer's own.
  LicenseFeed(db::Database& database, const Clock& clock, obs::Registry& metrics,
              std::unique_ptr<Remote> remote);

  // Reads what is new in the store; true when there was something. A store that was set back
  // (restored from a backup) is read from its start. Fails with what the store says, and the words
  // stay as they are.
  Task<bool> Read();
  // What the store says, at the start; and when the issuer was heard last.
  Task<> Begin();
  // Asks, reads, and calls `changed` after each time that found something. Never ends by itself.
  Task<> Follow(std::function<void()> changed);
  const std::shared_ptr<const license::Entitlements>& words() const { return words_; }
  // For all loops.
  const license::Freshness& heard() const { return heard_; }

 private:
  // Asks the issuer elsewhere once, for as long as he lets us wait, and writes down what is new.
  // kConflict or kLicenseInvalid for what is not his or does not go on; nothing is kept of it.
  Task<> Pull();
  Task<license::FeedCopy> ReadCopy();
  void SayAge();

  db::Database& database_;
  const Clock& clock_;
  obs::Gauge& age_;
  const std::unique_ptr<Remote> remote_;
  license::Freshness heard_;
  std::shared_ptr<const license::Entitlements> words_ =
      std::make_shared<const license::Entitlements>();
  // They were read beside those of an issuer whose place this one took.
  bool among_others_ = false;
};

}  // namespace pontage::app
