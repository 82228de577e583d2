#include "sandbox/identity.h"

#include <utility>

#include "base/check.h"
#include "codec/hex.h"
#include "crypto/hash.h"

namespace pontage::sandbox {
namespace {

Identity Derive(const std::string& name) {
  const std::string seed = "pontage sandbox " + name;
  std::string text = codec::Hex0x(crypto::Keccak256(codec::AsBytes(seed)));
  auto key = crypto::PrivateKey::FromHex(text);
  PTG_CHECK(key.has_value());
  const crypto::EvmAddress address = key->address();
  return {name, std::move(*key), address, std::move(text)};
}

std::vector<Identity> DeriveAll() {
  std::vector<Identity> all;
  for (const char* name : {"buyer", "seller", "facilitator", "poor"}) all.push_back(Derive(name));
  return all;
}

}  // namespace

const std::vector<Identity>& Identities() {
  static const std::vector<Identity> all = DeriveAll();
  return all;
}

const Identity& IdentityOf(std::string_view name) {
  const Identity* found = nullptr;
  for (const Identity& identity : Identities()) {
    if (identity.name == name) found = &identity;
  }
  PTG_CHECK(found != nullptr);
  return *found;
}

}  // namespace pontage::sandbox
