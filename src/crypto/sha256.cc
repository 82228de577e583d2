#include <memory>

#include <openssl/evp.h>

#include "base/check.h"
#include "crypto/hash.h"

namespace pontage::crypto {
namespace {

// OpenSSL 3.0 looks its provider up on every one-shot call, which costs four times the hash of a
// short text: fetched once, for ever.
const EVP_MD* FetchedSha256() {
  static const EVP_MD* md = [] {
    EVP_MD* fetched = EVP_MD_fetch(nullptr, "SHA256", nullptr);
    PTG_CHECK(fetched != nullptr);
    return fetched;
  }();
  return md;
}

EVP_MD_CTX* ThreadContext() {
  struct Free {
    void operator()(EVP_MD_CTX* ctx) const { EVP_MD_CTX_free(ctx); }
  };
  thread_local const std::unique_ptr<EVP_MD_CTX, Free> ctx(EVP_MD_CTX_new());
  PTG_CHECK(ctx != nullptr);
  return ctx.get();
}

}  // namespace

Hash32 Sha256(std::initializer_list<codec::ByteView> parts) {
  EVP_MD_CTX* ctx = ThreadContext();
  PTG_CHECK(EVP_DigestInit_ex2(ctx, FetchedSha256(), nullptr) == 1);
  for (const codec::ByteView part : parts) {
    PTG_CHECK(EVP_DigestUpdate(ctx, part.data(), part.size()) == 1);
  }
  Hash32 out;
  unsigned length = 0;
  PTG_CHECK(EVP_DigestFinal_ex(ctx, out.data(), &length) == 1 && length == out.size());
  return out;
}

Hash32 Sha256(codec::ByteView bytes) { return Sha256({bytes}); }

}  // namespace pontage::crypto
