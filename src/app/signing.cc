#include "app/signing.h"

#include <algorithm>

#include "app/license_keys.h"
#include "app/licenses.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/try.h"

namespace pontage::app {

Result<license::Issuer> LoadIssuer(const Config& config) {
  if (config.license.signing_key.empty()) {
    return Fail(Error(Code::kConfig, "there is no license.signing_key here")
                    .Want("signing_key = \"file:license.pem\" under [license]"));
  }
  Result<license::Issuer> issuer = license::Issuer::FromPem(config.license.signing_key);
  if (issuer) return issuer;
  return Fail(Error(Code::kConfig, "license.signing_key: " + issuer.error().detail())
                  .Want(issuer.error().expected()));
}

std::string NextKeyFile(const Config& config) {
  const std::string& file = config.license.signing_key_file;
  return file.empty() ? std::string() : file + ".next";
}

Signing::Key Signing::KeyOf(license::Issuer issuer) {
  auto shared = std::make_shared<const license::Issuer>(std::move(issuer));
  std::string kid = crypto::Thumbprint(shared->public_key());
  return {.kid = std::move(kid), .issuer = std::move(shared)};
}

Result<std::unique_ptr<Signing>> Signing::Make(const Config& config, const Clock& clock) {
  std::unique_ptr<Signing> made(
      new Signing(config.license.signing_key_file, NextKeyFile(config), clock));
  PTG_TRY(made->fernet_, LoadFernet(config));
  for (const PlanConfig& plan : config.plans) {
    if (config.IsFernet(plan)) made->fernet_plans_.insert(plan.name);
  }
  PTG_TRY(made->files_, ReadKeyFiles(config));
  if (made->fernet_ && config.license.signing_key.empty()) return made;
  PTG_TRY(license::Issuer issuer, LoadIssuer(config));
  Key key = KeyOf(std::move(issuer));
  made->keys_.push_back(key);
  made->signs_ = std::move(key);
  return made;
}

void Signing::ReadFiles() {
  const ConfigSources sources = ConfigSources::System();
  for (const std::string& path : {file_, next_}) {
    if (path.empty()) continue;
    Result<std::string> text = sources.read_file(path);
    if (!text) continue;
    Result<license::Issuer> issuer = license::Issuer::FromPem(Secret(*std::move(text)));
    if (!issuer) continue;
    Key key = KeyOf(*std::move(issuer));
    if (std::ranges::find(keys_, key.kid, &Key::kid) == keys_.end()) {
      keys_.push_back(std::move(key));
    }
  }
}

Result<> Signing::Use(std::vector<license::SigningKey> books) {
  const std::lock_guard lock(mutex_);
  books_ = std::move(books);
  const UnixMs now = clock_.Now();
  if (signs_.issuer == nullptr) return {};
  const license::SigningKey* wanted = license::SignerOf(books_, now);
  if (wanted != nullptr && wanted->kid != signs_.kid) {
    auto found = std::ranges::find(keys_, wanted->kid, &Key::kid);
    if (found == keys_.end()) {
      ReadFiles();
      found = std::ranges::find(keys_, wanted->kid, &Key::kid);
    }
    if (found != keys_.end()) {
      signs_ = *found;
      missing_.clear();
      Log(LogLevel::kInfo, "licenses.signing_key", {{"kid", signs_.kid}});
    } else if (missing_ != wanted->kid) {
      missing_ = wanted->kid;
      Log(LogLevel::kError, "licenses.signing_key_missing",
          {{"kid", missing_},
           {"detail", "the key whose turn it is to sign is neither in " + file_ + " nor in " +
                          next_ + "; the one before goes on"}});
    }
  }
  const auto mine = std::ranges::find(books_, signs_.kid, &license::SigningKey::kid);
  if (mine != books_.end() && license::StateOf(books_, *mine, now) == license::KeyState::kRetired) {
    return Fail(Error(Code::kConflict, "the key " + signs_.kid + " was retired")
                    .Want("the file of the key that signs now"));
  }
  return {};
}

std::shared_ptr<const license::Issuer> Signing::signer() const {
  const std::lock_guard lock(mutex_);
  return signs_.issuer;
}

std::string Signing::Issue(const license::Claims& claims) const {
  if (fernet_ && (fernet_plans_.contains(claims.plan) || !signs())) {
    return fernet_->Issue(claims);
  }
  return signer()->Issue(claims);
}

bool Signing::signs() const { return signer() != nullptr; }

std::string Signing::Sign(std::string_view typ, std::string_view payload) const {
  return signer()->Sign(typ, payload);
}

std::string Signing::kid() const {
  const std::lock_guard lock(mutex_);
  return signs_.kid;
}

void Signing::Publish(std::vector<crypto::Jwk> files) {
  const std::lock_guard lock(mutex_);
  files_ = std::move(files);
}

license::KeyDocument Signing::document() const {
  const std::lock_guard lock(mutex_);
  const UnixMs now = clock_.Now();
  license::KeyDocument document = license::DocumentOf(books_, now);
  document.keys = Merged(files_, books_, now);
  return document;
}

}  // namespace pontage::app
