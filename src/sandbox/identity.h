#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "crypto/evm_address.h"
#include "crypto/secp256k1.h"

namespace pontage::sandbox {

// Somebody on the sandbox chain. The key is keccak256("pontage sandbox " + name): public, and worth
// nothing anywhere else.
struct Identity {
  std::string name;
  crypto::PrivateKey key;
  crypto::EvmAddress address;
  std::string key_text;  // The key as wallets import it, 0x and 64 digits; no secret.
};

// buyer (1,000 dollars and some ether), seller (takes payments, has nothing), facilitator (100
// ether for gas), poor (one cent). The same for ever and in this order.
const std::vector<Identity>& Identities();
// One of the four by name; a name that is none of them is a broken invariant.
const Identity& IdentityOf(std::string_view name);

}  // namespace pontage::sandbox
