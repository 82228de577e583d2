#include "crypto/ed25519.h"

#include <sodium.h>

#include "base/check.h"

namespace pontage::crypto {
namespace {

static_assert(crypto_sign_SECRETKEYBYTES == 64 && crypto_sign_SEEDBYTES == 32);

void Init() {
  static const bool ready = sodium_init() >= 0;
  PTG_CHECK(ready);
}

const uint8_t* Octets(const Secret& secret) {
  return reinterpret_cast<const uint8_t*>(secret.Reveal().data());
}

}  // namespace

Result<Ed25519Key> Ed25519Key::FromSeed(const Secret& seed) {
  Init();
  if (seed.Reveal().size() != crypto_sign_SEEDBYTES) {
    return Fail(Error(Code::kConfig, "an Ed25519 seed of the wrong length").Want("32 bytes"));
  }
  Ed25519PublicKey pub;
  std::string expanded(crypto_sign_SECRETKEYBYTES, '\0');
  PTG_CHECK(crypto_sign_seed_keypair(pub.data(), reinterpret_cast<uint8_t*>(expanded.data()),
                                     Octets(seed)) == 0);
  return Ed25519Key(Secret(std::move(expanded)), pub);
}

Ed25519Key Ed25519Key::Generate(Rng& rng) {
  std::string bytes(crypto_sign_SEEDBYTES, '\0');
  rng.Fill({reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()});
  const Secret seed(std::move(bytes));
  Result<Ed25519Key> key = FromSeed(seed);
  PTG_CHECK(key.has_value());
  return *std::move(key);
}

Ed25519Signature Ed25519Key::Sign(codec::ByteView message) const {
  Ed25519Signature out;
  PTG_CHECK(
      crypto_sign_detached(out.data(), nullptr, message.data(), message.size(), Octets(key_)) == 0);
  return out;
}

bool VerifyEd25519(const Ed25519PublicKey& key, codec::ByteView message,
                   const Ed25519Signature& signature) {
  Init();
  return crypto_sign_verify_detached(signature.data(), message.data(), message.size(),
                                     key.data()) == 0;
}

}  // namespace pontage::crypto
