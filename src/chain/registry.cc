#include "chain/registry.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/try.h"

namespace pontage::chain {
namespace {

struct Row {
  uint64_t chain;
  std::string_view address;
  std::string_view symbol;
  uint8_t decimals;
  std::string_view name;
  std::string_view version;
  TransferMethod method;
  bool stock;
};

constexpr TransferMethod k3009 = TransferMethod::kEip3009;
constexpr TransferMethod kP2 = TransferMethod::kPermit2;

// Name and version are those of the token's own EIP-712 domain, which differ from its symbol and
// from chain to chain ("USD Coin" on some, "USDC" on others). The first row of a chain is its
// default.
constexpr Row kRows[] = {
    {8453, "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "USDC", 6, "USD Coin", "2", k3009, true},
    {84532, "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "USDC", 6, "USDC", "2", k3009, true},
    {1, "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", "USDC", 6, "USD Coin", "2", k3009, true},
    {11155111, "0x1c7D4B196Cb0C7B01d743Fbc6116a902379C7238", "USDC", 6, "USDC", "2", k3009, false},
    {137, "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359", "USDC", 6, "USD Coin", "2", k3009, true},
    {80002, "0x41E94Eb019C0762f9Bfcf9Fb1E58725BfB0e7582", "USDC", 6, "USDC", "2", k3009, false},
    {42161, "0xaf88d065e77c8cC2239327C5EDb3A432268e5831", "USDC", 6, "USD Coin", "2", k3009, true},
    {421614, "0x75faf114eafb1BDbe2F0316DF893fd58CE46AA4d", "USDC", 6, "USD Coin", "2", k3009, true},
    {10, "0x0b2C639c533813f4Aa9D7837CAf62653d097Ff85", "USDC", 6, "USD Coin", "2", k3009, false},
    {11155420, "0x5fd84259d66Cd46123540766Be93DFE6D43130D7", "USDC", 6, "USDC", "2", k3009, false},
    {43114, "0xB97EF9Ef8734C71904D8002F8b6Bc66Dd9c48a6E", "USDC", 6, "USD Coin", "2", k3009, true},
    {43113, "0x5425890298aed601595a70AB815c96711a31Bc65", "USDC", 6, "USD Coin", "2", k3009, false},
    {42220, "0xcebA9300f2b948710d2653dD7B07f33A8B32118C", "USDC", 6, "USDC", "2", k3009, true},
    {42220, "0x48065fbBE25f71C9282ddf5e1cD6D6A887483D5e", "USDT", 6, "Tether USD", "1", k3009,
     true},
    {42220, "0xD2ab3C9A02DBBAB236BfEC45D1d755DF4267F771", "USAT", 6, "Tether America USD", "1",
     k3009, true},
    {11142220, "0x01C5C0122039549AD1493B8220cABEdD739BC44E", "USDC", 6, "USDC", "2", k3009, true},
    {143, "0x754704Bc059F8C67012fEd69BC8A327a5aafb603", "USDC", 6, "USDC", "2", k3009, true},
    {1329, "0xe15fC38F6D8c56aF07bbCBe3BAf5708A2Bf42392", "USDC", 6, "USDC", "2", k3009, true},
    {1328, "0x4fCF1784B31630811181f670Aea7A7bEF803eaED", "USDC", 6, "USDC", "2", k3009, true},
    {50, "0xfA2958CB79b0491CC627c1557F441eF849Ca8eb1", "USDC", 6, "USDC", "2", k3009, true},
    {51, "0xb5AB69F7bBada22B28e79C8FFAECe55eF1c771D4", "USDC", 6, "USDC", "2", k3009, true},
    {14, "0xe7cd86e13AC4309349F30B3435a9d337750fC82D", "USDT0", 6, "USD₮0", "1", k3009, true},
    {988, "0x779Ded0c9e1022225f8E0630b35a9b54bE713736", "USDT0", 6, "USDT0", "1", k3009, true},
    {2201, "0x78Cf24370174180738C5B8E352B6D14c83a6c9A9", "USDT0", 6, "USDT0", "1", k3009, true},
    {4326, "0xFAfDdbb3FC7688494971a79cc65DCa3EF82079E7", "USDm", 18, "MegaUSD", "1", kP2, true},
    {31612, "0xdD468A1DDc392dcdbEf6db6e34E89AA338F9F186", "MUSD", 18, "Mezo USD", "1", kP2, true},
    {31611, "0x118917a40FAF1CD7a13dB0Ef56C86De7973Ac503", "MUSD", 18, "Mezo USD", "1", kP2, true},
    {723487, "0x33ad9e4BD16B69B5BFdED37D8B5D9fF9aba014Fb", "SBC", 6, "Stable Coin", "1", kP2, true},
    {72344, "0x33ad9e4BD16B69B5BFdED37D8B5D9fF9aba014Fb", "SBC", 6, "Stable Coin", "1", kP2, true},
    {36900, "0x9cb8142aEBBcdc60AF7c97Af897A67A8f3CA71C2", "USDC.e", 6, "USDC.e", "2", kP2, true},
    {190415, "0x401eCb1D350407f13ba348573E5630B83638E30D", "USDC", 6, "Bridged USDC", "2", kP2,
     true},
    {181228, "0x401eCb1D350407f13ba348573E5630B83638E30D", "USDC", 6, "Bridged USDC", "2", kP2,
     true},
    {38833, "0xA5b8BF902b2844dA17d4506cc827F7F1681735E7", "USDC", 6, "USDC", "1", kP2, true},
};

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

std::unexpected<Error> Fault(std::string why) { return Fail(Code::kConfig, std::move(why)); }

}  // namespace

AssetRegistry AssetRegistry::WithDefaults() {
  AssetRegistry registry;
  for (const Row& row : kRows) {
    const Result<crypto::EvmAddress> address =
        crypto::EvmAddress::Parse(row.address, crypto::EvmAddress::Checksum::kVerify);
    PTG_CHECK(address.has_value());
    const Result<> added = registry.AddAsset({.chain = ChainId::Evm(row.chain),
                                              .address = *address,
                                              .symbol = std::string(row.symbol),
                                              .decimals = row.decimals,
                                              .eip712_name = std::string(row.name),
                                              .eip712_version = std::string(row.version),
                                              .method = row.method,
                                              .stock = row.stock});
    PTG_CHECK(added.has_value());
  }
  return registry;
}

Result<> AssetRegistry::AddAsset(EvmAsset asset) {
  if (asset.chain.family() != Family::kEvm) return Fault("an EVM asset needs an eip155 network");
  if (asset.address.IsZero()) return Fault("an asset needs the address of its contract");
  if (asset.decimals > kMaxDecimals) {
    return Fault("an asset has at most " + std::to_string(kMaxDecimals) + " decimals");
  }
  if (asset.eip712_name.empty() || asset.eip712_version.empty()) {
    return Fault("an asset needs the name and version of its EIP-712 domain");
  }
  const auto known = std::ranges::find_if(assets_, [&](const EvmAsset& a) {
    return a.chain == asset.chain && a.address == asset.address;
  });
  if (known == assets_.end()) {
    assets_.push_back(std::move(asset));
  } else {
    *known = std::move(asset);
  }
  return {};
}

const EvmAsset* AssetRegistry::Find(const ChainId& chain, const crypto::EvmAddress& address) const {
  for (const EvmAsset& asset : assets_) {
    if (asset.address == address && asset.chain == chain) return &asset;
  }
  return nullptr;
}

const EvmAsset* AssetRegistry::DefaultOf(const ChainId& chain) const {
  for (const EvmAsset& asset : assets_) {
    if (asset.chain == chain) return &asset;
  }
  return nullptr;
}

const EvmAsset* AssetRegistry::FindSymbol(const ChainId& chain, std::string_view symbol) const {
  for (const EvmAsset& asset : assets_) {
    if (asset.chain == chain && EqualIgnoringCase(asset.symbol, symbol)) return &asset;
  }
  return nullptr;
}

}  // namespace pontage::chain
