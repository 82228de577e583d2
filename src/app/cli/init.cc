#include <array>
#include <cstdlib>
#include <filesystem>

#include <sys/types.h>

#include "app/cli/commands.h"
#include "app/cli/files.h"
#include "base/try.h"
#include "codec/base64url.h"
#include "crypto/ed25519.h"
#include "crypto/jwt.h"

namespace pontage::app {
namespace {

using codec::Json;

constexpr std::string_view kConfigText =
    R"(# Pontage. Every key: docs/reference/config.md. Judge this file with `pontage config check`, the
# world around it with `pontage doctor`, then start with `pontage serve`.

[server]
listen = "127.0.0.1:8402"               # PORT in the environment means 0.0.0.0:$PORT
# public_url = "https://api.example.com"  # what offers say; never taken from a request
# trusted_proxies = ["127.0.0.1/32"]      # whose X-Forwarded-* is believed
metrics_listen = "127.0.0.1:9402"       # /metrics /healthz /readyz

# [server.tls]                            # HTTPS and HTTP/2 on `listen`
# cert = "fullchain.pem"
# key = "privkey.pem"

[store]
url = "sqlite:pontage.db"               # or postgresql://…; DATABASE_URL overrides

[x402]
versions = [2, 1]
facilitator = "local"                   # settle ourselves; or the URL of a facilitator

[x402.pay_to]                           # who is paid, by network
"base-sepolia" = "env:PONTAGE_PAY_TO"

[chain."base-sepolia"]
rpc = ["https://sepolia.base.org"]
signer = "env:PONTAGE_EVM_KEY"          # pays the gas of settlements; needs some ether there

[[upstream]]
name = "api"
url = "http://127.0.0.1:9000"           # what you sell access to
# headers = { Authorization = "Bearer env:UPSTREAM_KEY" }

[[route]]
match = "GET /v1/*"                     # * is one segment or, at the end, the rest
upstream = "api"
price = "$0.001"
description = "What a buyer gets for this"
# free = "100/day"                      # so many calls of a client cost nothing
# rate = "20/s"                         # more than this is 429, before any payment

[[route]]
match = "/status"
upstream = "api"
price = "free"

# Companies with a card: a license for a plan passes instead of a payment. Give one away with
# `pontage license issue --plan pro --customer NAME`.
# [[plan]]
# name = "pro"                            # and plans = ["pro"] on the routes that it opens
# price = "$29/month"

[license]
# issuer = "https://api.example.com"      # whom licenses name; the public_url without it
signing_key = "file:license.pem"        # keep it secret: whoever has it can issue
jwks = "file:jwks.json"                 # what licenses are checked with

[console]
operator_key = "file:operator.key"      # login of /admin, and the X-Admin-Key of /admin/v1
session_key = "file:session.key"
)";

constexpr std::array<std::pair<std::string_view, std::string_view>, 2> kVariables = {{
    {"PONTAGE_PAY_TO", "the address that is paid (0x…)"},
    {"PONTAGE_EVM_KEY", "the private key that pays gas, 32 bytes in hex"},
}};

// The set with the one key.
std::string JwksText(const crypto::Ed25519PublicKey& key) {
  const crypto::Jwk jwk{.kid = crypto::Thumbprint(key), .key = key, .not_after = std::nullopt};
  return codec::ToString(crypto::JwksOf({&jwk, 1})) + '\n';
}

Secret RandomBytes(Rng& rng) {
  std::array<uint8_t, 32> bytes{};
  rng.Fill(bytes);
  Secret secret{std::string(codec::AsText(bytes))};
  bytes.fill(0);
  return secret;
}

struct Outcome {
  std::vector<std::string> written;
  std::vector<std::string> kept;
};

Result<> Put(const std::string& dir, std::string_view name, std::string_view text, mode_t mode,
             Outcome& outcome) {
  const std::string path = dir == "." ? std::string(name) : dir + '/' + std::string(name);
  const auto made = WriteNewFile(path, text, mode);
  if (made) {
    outcome.written.push_back(path);
    return {};
  }
  if (made.error().code() != Code::kConflict) return made;
  outcome.kept.push_back(path);
  return {};
}

Result<Outcome> WriteAll(const std::string& dir, Rng& rng) {
  std::error_code failure;
  std::filesystem::create_directories(dir, failure);
  if (failure) return Fail(Code::kConfig, "cannot create " + dir + ": " + failure.message());
  Outcome outcome;
  PTG_RUN(Put(dir, "pontage.toml", kConfigText, 0644, outcome));
  // The two belong together: a new public key beside an old private one would only confuse.
  const std::string pem = dir + "/license.pem";
  const std::string jwks = dir + "/jwks.json";
  if (std::filesystem::exists(pem) || std::filesystem::exists(jwks)) {
    for (const std::string& path : {pem, jwks}) {
      if (std::filesystem::exists(path)) outcome.kept.push_back(path);
    }
  } else {
    const Secret seed = RandomBytes(rng);
    PTG_TRY(const crypto::Ed25519Key key, crypto::Ed25519Key::FromSeed(seed));
    const Secret pem_text = crypto::PrivatePem(seed);
    PTG_RUN(Put(dir, "license.pem", pem_text.Reveal(), 0600, outcome));
    PTG_RUN(Put(dir, "jwks.json", JwksText(key.public_key()), 0644, outcome));
  }
  for (const std::string_view name : {"operator.key", "session.key"}) {
    const Secret bytes = RandomBytes(rng);
    PTG_RUN(Put(dir, name, codec::EncodeBase64Url(bytes.Reveal()) + '\n', 0600, outcome));
  }
  return outcome;
}

}  // namespace

int Init(const CommonOptions& common, const InitOptions& options) {
  const auto outcome = WriteAll(options.dir, Rng::System());
  if (!outcome) return FailWith(common, outcome.error());
  Json missing = Json::Array();
  std::vector<std::string> lines;
  for (const auto& [name, what] : kVariables) {
    const char* value = std::getenv(std::string(name).c_str());
    if (value != nullptr && *value != '\0') continue;
    missing.Push(name);
    lines.push_back("  " + std::string(name) + "  " + std::string(what));
  }
  if (WantsJson(common)) {
    Json written = Json::Array();
    Json kept = Json::Array();
    for (const std::string& path : outcome->written) written.Push(path);
    for (const std::string& path : outcome->kept) kept.Push(path);
    PrintJson(Json::Object({{"written", std::move(written)},
                            {"kept", std::move(kept)},
                            {"missing", std::move(missing)}}));
    return kDone;
  }
  for (const std::string& path : outcome->written) PrintLine("wrote  " + path);
  for (const std::string& path : outcome->kept) PrintLine("kept   " + path + " (was there)");
  if (!lines.empty()) {
    PrintLine("\nStill missing in the environment:");
    for (const std::string& line : lines) PrintLine(line);
  }
  PrintLine("\nNext: put your upstream and prices into pontage.toml, then `pontage config check`,");
  PrintLine("`pontage doctor` and `pontage serve`. `pontage demo` needs none of it.");
  return kDone;
}

}  // namespace pontage::app
