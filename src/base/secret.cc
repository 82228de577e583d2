#include "base/secret.h"

#include <openssl/crypto.h>

namespace pontage {

Secret::~Secret() { OPENSSL_cleanse(bytes_.data(), bytes_.capacity()); }

// A moved-from std::string may still hold its short content inline, so it is wiped by hand.
// NOLINTNEXTLINE(performance-move-constructor-init)
Secret::Secret(Secret&& other) noexcept : bytes_(other.bytes_) {
  OPENSSL_cleanse(other.bytes_.data(), other.bytes_.size());
  other.bytes_.clear();
}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    OPENSSL_cleanse(bytes_.data(), bytes_.capacity());
    bytes_ = other.bytes_;
    OPENSSL_cleanse(other.bytes_.data(), other.bytes_.size());
    other.bytes_.clear();
  }
  return *this;
}

bool Secret::Matches(std::string_view presented) const {
  return presented.size() == bytes_.size() &&
         CRYPTO_memcmp(presented.data(), bytes_.data(), bytes_.size()) == 0;
}

}  // namespace pontage
