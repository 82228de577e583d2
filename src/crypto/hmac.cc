#include "crypto/hmac.h"

#include <memory>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "base/check.h"

namespace pontage::crypto {
namespace {

EVP_MAC_CTX* ThreadContext() {
  struct Free {
    void operator()(EVP_MAC_CTX* ctx) const { EVP_MAC_CTX_free(ctx); }
  };
  static EVP_MAC* const mac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  PTG_CHECK(mac != nullptr);
  thread_local const std::unique_ptr<EVP_MAC_CTX, Free> ctx(EVP_MAC_CTX_new(mac));
  PTG_CHECK(ctx != nullptr);
  return ctx.get();
}

}  // namespace

Hash32 HmacSha256(codec::ByteView key, codec::ByteView message) {
  EVP_MAC_CTX* ctx = ThreadContext();
  char digest[] = "SHA256";
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_end(),
  };
  // Without a key OpenSSL keeps the last one: an empty key must still be a pointer.
  static constexpr uint8_t kNone = 0;
  const uint8_t* bytes = key.empty() ? &kNone : key.data();
  PTG_CHECK(EVP_MAC_init(ctx, bytes, key.size(), params) == 1);
  PTG_CHECK(EVP_MAC_update(ctx, message.data(), message.size()) == 1);
  Hash32 out;
  size_t length = 0;
  PTG_CHECK(EVP_MAC_final(ctx, out.data(), &length, out.size()) == 1 && length == out.size());
  return out;
}

bool TagsEqual(const Hash32& a, const Hash32& b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace pontage::crypto
