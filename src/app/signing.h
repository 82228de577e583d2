#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "app/config.h"
#include "base/time.h"
#include "license/fernet.h"
#include "license/issuer.h"
#include "license/signing_keys.h"

namespace pontage::app {

// The key in `license.signing_key`, whatever the books say of it. kConfig when there is none here.
Result<license::Issuer> LoadIssuer(const Config& config);

// Where the key that signs next lies until its time has come: beside `license.signing_key`.
std::string NextKeyFile(const Config& config);

// The private keys of who issues licenses: which one signs is for the books to say. Safe to use
// from every thread.
class Signing {
 public:
  // With `license.signing_key`, and the next one if there is one, and with `license.fernet_keys`.
  // kConfig without a key of either kind, and for one that is none.
  static Result<std::unique_ptr<Signing>> Make(const Config& config, const Clock& clock);

  // What the books say now: the key whose time has come signs from here on. A key that lies in
  // neither file is read again from both; where it is not found the one before goes on, and the log
  // says so. kConflict when the key at hand was retired: it signs nothing then.
  Result<> Use(std::vector<license::SigningKey> books);

  // In the format of its plan.
  std::string Issue(const license::Claims& claims) const;
  // False where all licenses are Fernet's: then nothing but these is signed.
  bool signs() const;
  std::string Sign(std::string_view typ, std::string_view payload) const;
  std::string kid() const;
  // What is published: the keys of the books, those of `files`, and the one that signs.
  license::KeyDocument document() const;
  void Publish(std::vector<crypto::Jwk> files);

 private:
  struct Key {
    std::string kid;
    std::shared_ptr<const license::Issuer> issuer;
  };
  Signing(std::string file, std::string next, const Clock& clock)
      : file_(std::move(file)), next_(std::move(next)), clock_(clock) {}
  static Key KeyOf(license::Issuer issuer);
  void ReadFiles();
  std::shared_ptr<const license::Issuer> signer() const;

  const std::string file_;  // empty: the key is in the environment
  const std::string next_;
  const Clock& clock_;
  mutable std::mutex mutex_;
  std::vector<Key> keys_;
  Key signs_;
  std::string missing_;  // told already
  std::vector<license::SigningKey> books_;
  std::vector<crypto::Jwk> files_;
  std::shared_ptr<const license::FernetKeys> fernet_;
  std::set<std::string, std::less<>> fernet_plans_;
};

}  // namespace pontage::app
