#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/rng.h"
#include "base/secret.h"
#include "base/time.h"

namespace pontage::crypto {

// Fernet (github.com/fernet/spec, version 0x80): AES-128-CBC and HMAC-SHA256 under one shared key.
// Whoever can read a token can also write one, and nothing in it names the key: kept for tokens
// that were made so, JWTs are for everything else.
class FernetKey {
 public:
  // 32 bytes in base64url: 16 that sign, 16 that encrypt. kConfig otherwise, without the text.
  static Result<FernetKey> Parse(const Secret& text);

  std::string Encrypt(std::string_view message, UnixMs now, Rng& rng) const;
  // The same at the same time for the same message: its initialization vector is drawn from both
  // and the key, so that a text that is given again is the text that was given.
  std::string EncryptAgain(std::string_view message, UnixMs at) const;
  // With the initialization vector given: for test vectors.
  std::string EncryptWith(std::string_view message, UnixMs now, std::string_view iv) const;

  // What a token of this key says. Strict: canonical base64url with its padding, a whole number of
  // blocks, PKCS #7 to the letter, a content that is not empty, and a time that is not more than a
  // minute ahead; not older than `ttl` where one is given. kBadRequest otherwise.
  Result<std::string> Decrypt(std::string_view token, UnixMs now,
                              std::optional<Millis> ttl = std::nullopt) const;
  // Whether this key made it, be it good or not.
  bool Made(std::string_view token) const { return Open(token).has_value(); }

 private:
  // The bytes of a token whose tag is this key's.
  Result<std::string> Open(std::string_view token) const;
  FernetKey(Secret signing, Secret encryption)
      : signing_(std::move(signing)), encryption_(std::move(encryption)) {}
  Secret signing_;
  Secret encryption_;
};

// Longer ones were never issued as a license.
inline constexpr size_t kMaxFernet = 4096;

}  // namespace pontage::crypto
