#include "app/reload.h"

#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "app/config_keys.h"
#include "testing/expect.h"

namespace pontage::app {
namespace {

constexpr const char* kKey = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
constexpr const char* kOther = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690e";

constexpr const char* kFile = R"([server]
listen = "127.0.0.1:8402"
metrics_listen = "127.0.0.1:9402"
threads = 2
log_level = "info"
[store]
url = "sqlite:a.db"
[x402]
facilitator = "https://facilitator.example.org"
facilitator_token = "env:TOKEN"
check_receipts = true
settle_timeout = "30s"
[x402.pay_to]
"base-sepolia" = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
[facilitator]
tokens = ["env:TOKENS"]
[chain."base-sepolia"]
rpc = ["https://rpc.example.org", "https://rpc2.example.org"]
confirmations = 2
quorum_above = "$10"
signer = "env:EVM_KEY"
batch = 40
gas_cap = 400000
max_fee_per_gas = "900 gwei"
gas_per_hour = "1 ether"
[[upstream]]
name = "api"
url = "http://127.0.0.1:9000"
[[route]]
match = "/paid/*"
price = "$0.001"
)";

Config Read(const std::string& text, const std::string& name = "", const std::string& value = "") {
  ConfigSources sources;
  sources.environment = [&](const std::string& asked) -> std::optional<std::string> {
    if (asked == name) return value;
    if (asked == "EVM_KEY") return kKey;
    if (asked == "TOKEN" || asked == "TOKENS") return "one";
    return std::nullopt;
  };
  sources.read_file = [](const std::string& path) -> Result<std::string> {
    return Fail(Code::kNotFound, path);
  };
  auto config = ParseConfig(text, "pontage.toml", sources);
  EXPECT_TRUE(config.has_value()) << (config ? "" : config.error().front().Text());
  return config ? *std::move(config) : Config();
}

std::string With(const std::string& from, const std::string& to) {
  std::string text = kFile;
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

using Keys = std::vector<std::string>;

TEST(ReloadTest, WhatIsReadOnlyAtTheStartIsNamed) {
  const struct {
    const char* key;
    const char* from;
    const char* to;
  } cases[] = {
      {"server.listen", "127.0.0.1:8402", "127.0.0.1:8403"},
      {"server.metrics_listen", "127.0.0.1:9402", "127.0.0.1:9403"},
      {"server.threads", "threads = 2", "threads = 3"},
      {"store.url", "sqlite:a.db", "sqlite:b.db"},
      {"x402.facilitator", "\"https://facilitator.example.org\"", "\"local\""},
      {"x402.check_receipts", "check_receipts = true", "check_receipts = false"},
      {"x402.settle_timeout", "settle_timeout = \"30s\"", "settle_timeout = \"31s\""},
      {"chain.*.rpc", "https://rpc2.", "https://rpc3."},
      {"chain.*.confirmations", "confirmations = 2", "confirmations = 3"},
      {"chain.*.quorum_above", "$10", "$20"},
      {"chain.*.batch", "batch = 40", "batch = 41"},
      {"chain.*.gas_cap", "400000", "400001"},
      {"chain.*.max_fee_per_gas", "900 gwei", "901 gwei"},
      {"chain.*.gas_per_hour", "1 ether", "2 ether"},
      {"chain.*.assets", "batch = 40",
       "batch = 40\nassets = [{address = \"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\", decimals "
       "= "
       "6, name = \"T\", version = \"1\"}]"},
  };
  const Config running = Read(kFile);
  EXPECT_EQ(KeysForNextStart(running, Read(kFile)), Keys());
  for (const auto& c : cases) {
    const Config wanted = Read(With(c.from, c.to));
    EXPECT_EQ(KeysForNextStart(running, wanted), Keys{c.key});
    // Told again for as long as it has not been done, and no more once it is taken back.
    const Config after = Applied(Read(kFile), Read(With(c.from, c.to)));
    EXPECT_EQ(KeysForNextStart(after, wanted), Keys{c.key});
    EXPECT_EQ(KeysForNextStart(after, running), Keys());
  }
  const Config token = Read(kFile, "TOKEN", "two");
  EXPECT_EQ(KeysForNextStart(running, token), Keys{"x402.facilitator_token"});
  const Config tokens = Read(kFile, "TOKENS", "two");
  EXPECT_EQ(KeysForNextStart(running, tokens), Keys{"facilitator.tokens"});
  const Config signer = Read(kFile, "EVM_KEY", kOther);
  EXPECT_EQ(KeysForNextStart(running, signer), Keys{"chain.*.signer"});
  const Config more = Read(std::string(kFile) + "[chain.\"base\"]\nrpc = \"https://b.example\"\n");
  EXPECT_EQ(KeysForNextStart(running, more), Keys{"chain"});
}

// Each key of the chapter [chain] is read at the start: a new one must come into the table.
TEST(ReloadTest, EveryKeyOfAChainIsKnown) {
  const std::set<std::string_view> known = {"chain.*.rpc",
                                            "chain.*.confirmations",
                                            "chain.*.quorum_above",
                                            "chain.*.signer",
                                            "chain.*.batch",
                                            "chain.*.gas_cap",
                                            "chain.*.max_fee_per_gas",
                                            "chain.*.gas_per_hour",
                                            "chain.*.chain_id",
                                            "chain.*.assets"};
  for (const KeyRow& row : KeyRows()) {
    const std::string_view key = row.path;
    if (!key.starts_with("chain.*.") || key.starts_with("chain.*.assets.")) continue;
    EXPECT_TRUE(known.contains(key)) << key;
  }
}

TEST(ReloadTest, WhatIsAppliedIsNotNamed) {
  const Config running = Read(kFile);
  EXPECT_EQ(KeysForNextStart(running, Read(With("$0.001", "$0.002"))), Keys());
  EXPECT_EQ(KeysForNextStart(running, Read(With("\"info\"", "\"warn\""))), Keys());
  EXPECT_EQ(KeysForNextStart(running, Read(With("\"info\"", "\"warn\"")), false),
            Keys{"server.log_level"});
  const Config after = Applied(Read(kFile), Read(With("$0.001", "$0.002")));
  EXPECT_EQ(after.routes.front().price, Money::Micros(2'000));
  EXPECT_EQ(after.chains.size(), 1U);
}

}  // namespace
}  // namespace pontage::app
