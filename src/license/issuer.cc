#include "license/issuer.h"

#include "base/try.h"
#include "crypto/jwt.h"

namespace pontage::license {

Result<Issuer> Issuer::FromPem(const Secret& pem) {
  PTG_TRY(crypto::Ed25519Key key, crypto::ParsePrivatePem(pem));
  return Issuer(std::move(key));
}

std::string Issuer::Issue(const Claims& claims) const {
  return Sign(kLicenseType, codec::ToString(ToJson(claims)));
}

std::string Issuer::Sign(std::string_view typ, std::string_view payload) const {
  return crypto::SignJws(key_, typ, payload);
}

}  // namespace pontage::license
