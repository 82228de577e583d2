#pragma once

#include <string>

#include "base/error.h"
#include "base/secret.h"
#include "crypto/ed25519.h"
#include "license/claims.h"

namespace pontage::license {

// Signs licenses. Only the role `sales` and the command line have one; a gateway never does.
class Issuer {
 public:
  explicit Issuer(crypto::Ed25519Key key) : key_(std::move(key)) {}
  // `pem` as `pontage init` writes it. kConfig otherwise, without the text.
  static Result<Issuer> FromPem(const Secret& pem);

  // The license as its customer pastes it.
  std::string Issue(const Claims& claims) const;
  const crypto::Ed25519PublicKey& public_key() const { return key_.public_key(); }
  // Any other document of ours (the entitlement feed), under its own typ.
  std::string Sign(std::string_view typ, std::string_view payload) const;

 private:
  crypto::Ed25519Key key_;
};

}  // namespace pontage::license
