#include "crypto/jwt.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/try.h"
#include "codec/base64.h"
#include "codec/base64url.h"
#include "crypto/hash.h"

namespace pontage::crypto {
namespace {

using codec::Json;
using codec::JsonReader;

// OneAsymmetricKey of RFC 5958 up to the 32 bytes: version 0, id-Ed25519, an octet string in one.
constexpr std::array<uint8_t, 16> kPkcs8Head = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
                                                0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};
constexpr std::string_view kBegin = "-----BEGIN PRIVATE KEY-----";
constexpr std::string_view kEnd = "-----END PRIVATE KEY-----";
constexpr size_t kMaxKid = 128;
// What a header may not have: it would tell us where to find keys, or to read the rest differently.
constexpr std::array<std::string_view, 7> kForbidden = {"crit", "b64", "jku", "jwk",
                                                        "x5u",  "x5c", "zip"};

Error Unreadable(std::string detail) { return {Code::kBadRequest, std::move(detail)}; }

// The one line of base64 between the two marks, whatever the line ends are.
Result<Secret> Between(std::string_view pem) {
  const size_t begin = pem.find(kBegin);
  const size_t end = pem.find(kEnd);
  if (begin == pem.npos || end == pem.npos || end < begin + kBegin.size()) {
    return Fail(Code::kConfig, "no private key in it");
  }
  std::string line;
  line.reserve(pem.size());  // a text that grows leaves what it was behind
  for (const char c : pem.substr(begin + kBegin.size(), end - begin - kBegin.size())) {
    if (c != '\n' && c != '\r' && c != ' ' && c != '\t') line.push_back(c);
  }
  return Secret(std::move(line));
}

Result<std::optional<Jwk>> ReadJwk(const JsonReader& one) {
  PTG_TRY(const std::string_view type, one.String("kty"));
  PTG_TRY(const auto curve, one.MaybeString("crv"));
  PTG_TRY(const auto use, one.MaybeString("use"));
  if (type != "OKP" || curve != "Ed25519" || use.value_or("sig") != "sig") return std::nullopt;
  if (one.MaybeAny("d") != nullptr) {
    return Fail(one.Bad("d", "a private key in a set of public ones", "the public key alone"));
  }
  PTG_TRY(const std::string_view kid, one.String("kid"));
  if (kid.empty() || kid.size() > kMaxKid) {
    return Fail(one.Bad("kid", "a name of this length", "1 to 128 characters"));
  }
  PTG_TRY(const std::string_view x, one.String("x"));
  Jwk jwk;
  jwk.kid = kid;
  if (!codec::DecodeBase64UrlInto(x, jwk.key)) {
    return Fail(one.Bad("x", "no Ed25519 key", "32 bytes in base64url"));
  }
  PTG_TRY(const auto exp, one.MaybeInt("exp"));
  if (exp) jwk.not_after = UnixMs::FromSeconds(*exp);
  return jwk;
}

Result<Json> ReadHeader(std::string_view part) {
  Result<std::string> text = codec::DecodeBase64Url(part);
  if (!text) return Fail(Unreadable("the token's header is not base64url"));
  codec::JsonLimits limits;
  limits.max_bytes = 1024;
  limits.max_depth = 4;
  Result<Json> header = codec::ParseJson(*text, limits);
  if (!header || !header->IsObject()) {
    return Fail(Unreadable("the token's header is no JSON object"));
  }
  return header;
}

}  // namespace

std::string Thumbprint(const Ed25519PublicKey& key) {
  const std::string text =
      R"({"crv":"Ed25519","kty":"OKP","x":")" + codec::EncodeBase64Url(codec::AsText(key)) + "\"}";
  const Hash32 digest = Sha256(codec::AsBytes(text));
  return codec::EncodeBase64Url(codec::AsText(digest));
}

Result<std::vector<Jwk>> ParseJwks(std::string_view text) {
  codec::JsonLimits limits;
  limits.max_bytes = kMaxJwksBytes;
  PTG_TRY(const Json json, codec::ParseJson(text, limits));
  PTG_TRY(const JsonReader set, JsonReader::Of(json));
  PTG_TRY(const std::vector<JsonReader> keys, set.Objects("keys", kMostJwks));
  std::vector<Jwk> out;
  for (const JsonReader& one : keys) {
    PTG_TRY(std::optional<Jwk> jwk, ReadJwk(one));
    if (!jwk) continue;
    if (std::ranges::find(out, jwk->kid, &Jwk::kid) != out.end()) {
      return Fail(one.Bad("kid", "two keys of one name", "a name of its own"));
    }
    out.push_back(*std::move(jwk));
  }
  return out;
}

Json JwksOf(std::span<const Jwk> keys) {
  Json list = Json::Array();
  for (const Jwk& jwk : keys) {
    Json one = Json::Object({{"kty", "OKP"},
                             {"crv", "Ed25519"},
                             {"x", codec::EncodeBase64Url(codec::AsText(jwk.key))},
                             {"kid", jwk.kid},
                             {"use", "sig"},
                             {"alg", "EdDSA"}});
    if (jwk.not_after) one.Set("exp", jwk.not_after->seconds());
    list.Push(std::move(one));
  }
  return Json::Object({{"keys", std::move(list)}});
}

Result<Ed25519Key> ParsePrivatePem(const Secret& pem) {
  PTG_TRY(const Secret line, Between(pem.Reveal()));
  Result<std::string> der = codec::DecodeBase64(line.Reveal());
  const Secret bytes(der ? *std::move(der) : std::string());
  const std::string_view octets = bytes.Reveal();
  if (octets.size() != kPkcs8Head.size() + 32 || !octets.starts_with(codec::AsText(kPkcs8Head))) {
    return Fail(Error(Code::kConfig, "a private key of another kind")
                    .Want("an Ed25519 key in PKCS #8, as `pontage init` writes it"));
  }
  const Secret seed{std::string(octets.substr(kPkcs8Head.size()))};
  return Ed25519Key::FromSeed(seed);
}

Secret PrivatePem(const Secret& seed) {
  std::string der(codec::AsText(kPkcs8Head));
  der += seed.Reveal();
  const Secret octets(std::move(der));
  const Secret line(codec::EncodeBase64(octets.Reveal()));
  std::string text;
  text.reserve(kBegin.size() + line.Reveal().size() + kEnd.size() + 3);
  text += kBegin;
  text += '\n';
  text += line.Reveal();
  text += '\n';
  text += kEnd;
  text += '\n';
  return Secret(std::move(text));
}

std::string JwsHead(std::string_view kid, std::string_view typ) {
  const Json header = Json::Object({{"alg", "EdDSA"}, {"kid", kid}, {"typ", typ}});
  return codec::EncodeBase64Url(codec::ToString(header)) + '.';
}

std::string SignJws(const Ed25519Key& key, std::string_view typ, std::string_view payload) {
  std::string token = JwsHead(Thumbprint(key.public_key()), typ);
  token += codec::EncodeBase64Url(payload);
  const Ed25519Signature signature = key.Sign(codec::AsBytes(token));
  token += '.';
  token += codec::EncodeBase64Url(codec::AsText(signature));
  return token;
}

Result<Jws> ReadJwsBehind(std::string_view token, size_t head) {
  const size_t dot = token.find('.', head);
  if (dot == token.npos || token.find('.', dot + 1) != token.npos) {
    return Fail(Unreadable("a token has three parts with a dot between them"));
  }
  Jws jws;
  Result<std::string> payload = codec::DecodeBase64Url(token.substr(head, dot - head));
  if (!payload) return Fail(Unreadable("the token's content is not base64url"));
  jws.payload = *std::move(payload);
  if (!codec::DecodeBase64UrlInto(token.substr(dot + 1), jws.signature)) {
    return Fail(Unreadable("the token's signature is not 64 bytes in base64url"));
  }
  jws.signed_part = token.substr(0, dot);
  return jws;
}

Result<Jws> ReadJws(std::string_view token, size_t max_bytes) {
  if (token.size() > max_bytes) return Fail(Unreadable("the token is too long"));
  const size_t dot = token.find('.');
  if (dot == token.npos) {
    return Fail(Unreadable("a token has three parts with a dot between them"));
  }
  PTG_TRY(const Json header, ReadHeader(token.substr(0, dot)));
  const auto text = [&header](std::string_view name) -> const std::string* {
    const Json* value = header.Find(name);
    return value == nullptr ? nullptr : value->AsString();
  };
  const std::string* alg = text("alg");
  if (alg == nullptr || (*alg != "EdDSA" && *alg != "Ed25519")) {
    return Fail(Unreadable("the token is signed in another way than with Ed25519"));
  }
  for (const std::string_view name : kForbidden) {
    if (header.Find(name) != nullptr) {
      return Fail(Unreadable("the token's header says " + std::string(name)));
    }
  }
  const std::string* kid = text("kid");
  if (kid == nullptr || kid->empty() || kid->size() > kMaxKid) {
    return Fail(Unreadable("the token does not name its key"));
  }
  const std::string* typ = text("typ");
  if (typ == nullptr && header.Find("typ") != nullptr) {
    return Fail(Unreadable("the token's typ is no text"));
  }
  PTG_TRY(Jws jws, ReadJwsBehind(token, dot + 1));
  jws.kid = *kid;
  if (typ != nullptr) jws.typ = *typ;
  return jws;
}

}  // namespace pontage::crypto
