#include "chain/chain_id.h"

#include <fstream>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "chain/registry.h"
#include "testing/expect.h"

namespace pontage::chain {
namespace {

using pontage::testing::FailsWith;
using pontage::testing::IsOk;

TEST(ChainId, BothSpellingsAreOneChain) {
  const std::pair<const char*, const char*> names[] = {
      {"base", "eip155:8453"},
      {"base-sepolia", "eip155:84532"},
      {"ethereum", "eip155:1"},
      {"polygon-amoy", "eip155:80002"},
      {"avalanche-fuji", "eip155:43113"},
      {"skale-base-sepolia", "eip155:324705682"},
      {"solana", "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"},
      {"solana-devnet", "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"},
  };
  for (const auto& [name, caip2] : names) {
    const auto by_name = ChainId::Parse(name);
    const auto by_caip2 = ChainId::Parse(caip2);
    ASSERT_THAT(by_name, IsOk()) << name;
    ASSERT_THAT(by_caip2, IsOk()) << caip2;
    EXPECT_EQ(*by_name, *by_caip2);
    EXPECT_EQ(by_name->Binary(), by_caip2->Binary());
    EXPECT_EQ(by_name->Caip2(), caip2);
    EXPECT_EQ(by_caip2->V1Name(), name);
  }
  EXPECT_EQ(ChainId::Evm(31337).V1Name(), std::nullopt);
  EXPECT_EQ(ChainId::Evm(84532), ChainId::FromCaip2("eip155:84532").value());
}

TEST(ChainId, RefusesEverySecondSpelling) {
  for (const char* bad : {"",
                          ":",
                          "eip155",
                          "eip155:",
                          "eip155:0",
                          "eip155:01",
                          "eip155:-1",
                          "eip155:+1",
                          "eip155:1 ",
                          "eip155:0x1",
                          "EIP155:1",
                          "eip155:18446744073709551616",
                          "eip155:1:2",
                          "solana:",
                          "solana:devnet",
                          "solana:0ykt4UsFv8P8NJdTREpY1vzqKqZKvdpp",
                          "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp1",
                          "cosmos:hub",
                          "Base",
                          "base ",
                          "bas"}) {
    EXPECT_THAT(ChainId::Parse(bad), FailsWith(Code::kPaymentNetwork)) << bad;
  }
  EXPECT_THAT(ChainId::FromCaip2("base"), FailsWith(Code::kPaymentNetwork));
  EXPECT_THAT(ChainId::FromV1Name("eip155:8453"), FailsWith(Code::kPaymentNetwork));
  EXPECT_THAT(ChainId::Parse("eip155:18446744073709551615"), IsOk());
}

TEST(ChainId, BinaryFormsDiffer) {
  std::set<codec::Bytes> seen;
  for (const char* text :
       {"eip155:1", "eip155:256", "eip155:8453", "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
        "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"}) {
    EXPECT_TRUE(seen.insert(ChainId::Parse(text).value().Binary()).second) << text;
  }
  EXPECT_EQ(ChainId::Evm(0x14a34).Binary(), (codec::Bytes{1, 0, 0, 0, 0, 0, 1, 0x4a, 0x34}));
}

TEST(AssetRegistry, TheDefaultsAreWellFormed) {
  const AssetRegistry registry = AssetRegistry::WithDefaults();
  std::set<std::pair<ChainId, crypto::EvmAddress>> seen;
  for (const EvmAsset& asset : registry.all()) {
    EXPECT_TRUE(seen.insert({asset.chain, asset.address}).second) << asset.address.ToChecksum();
    EXPECT_EQ(registry.Find(asset.chain, asset.address), &asset);
    EXPECT_TRUE(asset.decimals == 6 || asset.decimals == 18);
  }
  EXPECT_GT(seen.size(), 30U);
}

// The names that sellers get wrong: they differ between a chain and its test chain.
TEST(AssetRegistry, KnowsTheDomainOfEachDefault) {
  const AssetRegistry registry = AssetRegistry::WithDefaults();
  const EvmAsset* base = registry.DefaultOf(ChainId::Evm(8453));
  ASSERT_NE(base, nullptr);
  EXPECT_EQ(base->eip712_name, "USD Coin");
  EXPECT_EQ(base->address.ToChecksum(), "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913");
  const EvmAsset* sepolia = registry.DefaultOf(ChainId::Evm(84532));
  ASSERT_NE(sepolia, nullptr);
  EXPECT_EQ(sepolia->eip712_name, "USDC");
  EXPECT_EQ(sepolia->method, TransferMethod::kEip3009);
  const EvmAsset* mega = registry.DefaultOf(ChainId::Evm(4326));
  ASSERT_NE(mega, nullptr);
  EXPECT_EQ(mega->decimals, 18);
  EXPECT_EQ(mega->method, TransferMethod::kPermit2);
  EXPECT_EQ(registry.DefaultOf(ChainId::Evm(31337)), nullptr);
  EXPECT_EQ(registry.FindSymbol(ChainId::Evm(42220), "usdt")->eip712_name, "Tether USD");
  EXPECT_EQ(registry.FindSymbol(ChainId::Evm(42220), "dai"), nullptr);
  EXPECT_EQ(registry.Find(ChainId::Evm(1), base->address), nullptr) << "same address, other chain";
}

// A seller copies the name from the page; it must be the one we check.
TEST(AssetRegistry, ThePageSaysWhatTheTableHas) {
  std::vector<std::string> want;
  const AssetRegistry registry = AssetRegistry::WithDefaults();
  for (const EvmAsset& a : registry.all()) {
    const std::string name =
        a.chain.V1Name() ? "`" + std::string(*a.chain.V1Name()) + "`" : std::string("–");
    want.push_back("| " + name + " | `" + a.chain.Caip2() + "` | " + a.symbol + " | " +
                   std::to_string(a.decimals) + " | `" + a.eip712_name + "` | `" +
                   a.eip712_version + "` | " +
                   (a.method == TransferMethod::kEip3009 ? "eip3009" : "permit2") + " | " +
                   (a.stock ? "yes" : "no") + " | `" + a.address.ToChecksum() + "` |");
  }
  std::ifstream page(PTG_SOURCE_DIR "/docs/reference/assets.md");
  ASSERT_TRUE(page.good());
  std::vector<std::string> rows;
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with("| ") && line.contains("0x")) rows.push_back(line);
  }
  EXPECT_EQ(rows, want);
}

TEST(AssetRegistry, AddsReplacesAndRefuses) {
  AssetRegistry registry;
  EvmAsset asset{.chain = ChainId::Evm(31337),
                 .address = {{1}},
                 .symbol = "RIG",
                 .decimals = 6,
                 .eip712_name = "Rig",
                 .eip712_version = "1"};
  EXPECT_THAT(registry.AddAsset(asset), IsOk());
  asset.eip712_version = "2";
  EXPECT_THAT(registry.AddAsset(asset), IsOk());
  ASSERT_EQ(registry.all().size(), 1U);
  EXPECT_EQ(registry.DefaultOf(asset.chain)->eip712_version, "2");

  const struct {
    const char* what;
    void (*spoil)(EvmAsset&);
  } faults[] = {
      {"address", [](EvmAsset& a) { a.address = {}; }},
      {"decimals", [](EvmAsset& a) { a.decimals = kMaxDecimals + 1; }},
      {"name", [](EvmAsset& a) { a.eip712_name.clear(); }},
      {"version", [](EvmAsset& a) { a.eip712_version.clear(); }},
      {"chain", [](EvmAsset& a) { a.chain = ChainId::Parse("solana-devnet").value(); }},
  };
  for (const auto& fault : faults) {
    EvmAsset bad = asset;
    fault.spoil(bad);
    EXPECT_THAT(registry.AddAsset(bad), FailsWith(Code::kConfig)) << fault.what;
  }
  EXPECT_EQ(registry.all().size(), 1U);
}

}  // namespace
}  // namespace pontage::chain
