#include "crypto/fernet.h"

#include <algorithm>
#include <array>
#include <memory>

#include <openssl/evp.h>

#include "base/check.h"
#include "base/try.h"
#include "codec/base64.h"
#include "codec/base64url.h"
#include "crypto/hmac.h"

namespace pontage::crypto {
namespace {

constexpr char kVersion = '\x80';
constexpr size_t kBlock = 16;
constexpr size_t kHead = 1 + 8 + kBlock;  // version, time, initialization vector
constexpr size_t kTag = 32;
// A clock that is a little ahead of ours.
constexpr int64_t kSkewSeconds = 60;

std::unexpected<Error> Bad(std::string detail) {
  return Fail(Code::kBadRequest, std::move(detail));
}

const uint8_t* Octets(std::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

struct Free {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};

// AES-128-CBC without OpenSSL's padding: ours is checked by ourselves.
std::string Cipher(const Secret& key, std::string_view iv, std::string_view in, bool encrypt) {
  const std::unique_ptr<EVP_CIPHER_CTX, Free> context(EVP_CIPHER_CTX_new());
  PTG_CHECK(context != nullptr);
  PTG_CHECK(EVP_CipherInit_ex(context.get(), EVP_aes_128_cbc(), nullptr, Octets(key.Reveal()),
                              Octets(iv), encrypt ? 1 : 0) == 1);
  EVP_CIPHER_CTX_set_padding(context.get(), 0);
  std::string out(in.size() + kBlock, '\0');
  int first = 0;
  int last = 0;
  PTG_CHECK(EVP_CipherUpdate(context.get(), reinterpret_cast<uint8_t*>(out.data()), &first,
                             Octets(in), static_cast<int>(in.size())) == 1);
  PTG_CHECK(EVP_CipherFinal_ex(context.get(), reinterpret_cast<uint8_t*>(out.data()) + first,
                               &last) == 1);
  out.resize(static_cast<size_t>(first) + static_cast<size_t>(last));
  return out;
}

// base64url with the padding that Fernet asks for, and no other spelling.
Result<std::string> DecodePadded(std::string_view token) {
  if (token.size() % 4 != 0) return Bad("the token is not padded base64url");
  std::string_view bare = token;
  for (int i = 0; i < 2 && bare.ends_with('='); ++i) bare.remove_suffix(1);
  Result<std::string> bytes = codec::DecodeBase64Url(bare);
  if (!bytes) return Bad("the token is not base64url");
  return bytes;
}

}  // namespace

Result<FernetKey> FernetKey::Parse(const Secret& text) {
  std::string_view bare = text.Reveal();
  while (bare.ends_with('=')) bare.remove_suffix(1);
  Result<std::string> bytes = codec::DecodeBase64Url(bare);
  const Secret whole(bytes ? *std::move(bytes) : std::string());
  if (whole.Reveal().size() != 32) {
    return Fail(Error(Code::kConfig, "no Fernet key").Want("32 bytes in base64url"));
  }
  Secret signing{std::string(whole.Reveal().substr(0, 16))};
  Secret encryption{std::string(whole.Reveal().substr(16))};
  return FernetKey(std::move(signing), std::move(encryption));
}

std::string FernetKey::Encrypt(std::string_view message, UnixMs now, Rng& rng) const {
  std::array<uint8_t, kBlock> iv{};
  rng.Fill(iv);
  return EncryptWith(message, now, codec::AsText(iv));
}

std::string FernetKey::EncryptAgain(std::string_view message, UnixMs at) const {
  // A tag is over a version and never begins so.
  std::string drawn = "iv " + std::to_string(at.seconds()) + ' ';
  drawn += message;
  const Hash32 hash = HmacSha256(codec::AsBytes(signing_.Reveal()), codec::AsBytes(drawn));
  return EncryptWith(message, at, codec::AsText(hash).substr(0, kBlock));
}

std::string FernetKey::EncryptWith(std::string_view message, UnixMs now,
                                   std::string_view iv) const {
  PTG_CHECK(iv.size() == kBlock);
  std::string padded(message);
  const size_t fill = kBlock - padded.size() % kBlock;
  padded.append(fill, static_cast<char>(fill));
  std::string token(1, kVersion);
  const auto seconds = static_cast<uint64_t>(std::max<int64_t>(0, now.seconds()));
  for (int shift = 56; shift >= 0; shift -= 8) token.push_back(static_cast<char>(seconds >> shift));
  token += iv;
  token += Cipher(encryption_, iv, padded, true);
  const Hash32 tag = HmacSha256(codec::AsBytes(signing_.Reveal()), codec::AsBytes(token));
  token += codec::AsText(tag);
  std::string text = codec::EncodeBase64Url(token);
  text.append((4 - text.size() % 4) % 4, '=');
  return text;
}

Result<std::string> FernetKey::Open(std::string_view token) const {
  if (token.size() > kMaxFernet) return Bad("the token is too long");
  PTG_TRY(std::string bytes, DecodePadded(token));
  if (bytes.size() < kHead + kBlock + kTag || bytes[0] != kVersion) {
    return Bad("the token is no Fernet token");
  }
  const std::string_view all(bytes);
  const std::string_view covered = all.substr(0, all.size() - kTag);
  const Hash32 right = HmacSha256(codec::AsBytes(signing_.Reveal()), codec::AsBytes(covered));
  Hash32 tag{};
  std::copy_n(Octets(all.substr(covered.size())), kTag, tag.begin());
  // Before anything else of it is looked at.
  if (!TagsEqual(tag, right)) return Bad("the token was not made with this key");
  return bytes;
}

Result<std::string> FernetKey::Decrypt(std::string_view token, UnixMs now,
                                       std::optional<Millis> ttl) const {
  PTG_TRY(const std::string bytes, Open(token));
  const std::string_view all(bytes);
  const std::string_view covered = all.substr(0, all.size() - kTag);
  uint64_t seconds = 0;
  for (size_t i = 1; i <= 8; ++i) seconds = seconds << 8 | static_cast<uint8_t>(all[i]);
  const int64_t here = now.seconds();
  if (seconds > static_cast<uint64_t>(std::max<int64_t>(0, here + kSkewSeconds))) {
    return Bad("the token was made in the future");
  }
  if (ttl && static_cast<int64_t>(seconds) + ttl->count() / 1000 < here) {
    return Bad("the token is too old");
  }
  const std::string_view sealed = covered.substr(kHead);
  if (sealed.size() % kBlock != 0) return Bad("the token's content is cut off");
  std::string text = Cipher(encryption_, covered.substr(9, kBlock), sealed, false);
  const auto fill = static_cast<uint8_t>(text.back());
  const bool padded = fill >= 1 && fill <= kBlock && fill < text.size() &&
                      std::ranges::all_of(
                          std::string_view(text).substr(text.size() - fill),
                          [fill](char c) { return static_cast<uint8_t>(c) == fill; });
  if (!padded) return Bad("the token's content is not padded as it should be");
  text.resize(text.size() - fill);
  return text;
}

}  // namespace pontage::crypto
