#include <algorithm>

#include "app/config_sections.h"
#include "codec/base58.h"
#include "crypto/secp256k1.h"

namespace pontage::app {
namespace {

constexpr std::string_view kEvmAddressForm =
    "\"0x\" and 40 hex digits, all lower case or with the right checksum";

// The address as people are shown it; empty after a fault.
std::string ReadAddress(const Section& s, const std::string& key, const chain::ChainId& network,
                        const std::string& text) {
  if (network.family() == chain::Family::kEvm) {
    const auto address = crypto::EvmAddress::Parse(text, crypto::EvmAddress::Checksum::kVerify);
    if (address && !address->IsZero()) return address->ToChecksum();
    s.Fault(key, s.Found(key), std::string(kEvmAddressForm));
    return {};
  }
  constexpr size_t kAccountBytes = 32;
  const auto bytes = codec::DecodeBase58(text, kAccountBytes);
  if (bytes && bytes->size() == kAccountBytes) return text;
  s.Fault(key, s.Found(key), "an account in base58");
  return {};
}

void ReadAssets(const Section& chain, const chain::ChainId& network,
                std::vector<chain::EvmAsset>& to) {
  for (const Section& s : chain.Children("assets")) {
    const std::string text = s.RequiredString("address", kEvmAddressForm);
    chain::EvmAsset asset{.chain = network,
                          .address = {},
                          .symbol = s.StringOr("symbol", "token"),
                          .eip712_name = s.RequiredString("name", "the EIP-712 domain's name"),
                          .eip712_version = s.RequiredString("version", "its version")};
    const auto address = crypto::EvmAddress::Parse(text, crypto::EvmAddress::Checksum::kVerify);
    if (address && !address->IsZero()) {
      asset.address = *address;
    } else if (!text.empty()) {
      s.Fault("address", s.Found("address"), std::string(kEvmAddressForm));
    }
    if (!s.Has("decimals")) {
      s.Fault("decimals", "nothing", "the token's decimals");
    } else if (const auto decimals = s.Int("decimals", 0, chain::kMaxDecimals)) {
      asset.decimals = static_cast<uint8_t>(*decimals);
    }
    if (network.family() != chain::Family::kEvm) {
      s.Fault("address", "an asset of a network that is none of EVM", "assets on eip155 networks");
      continue;
    }
    to.push_back(std::move(asset));
  }
}

void ReadSigner(const Section& s, ChainConfig& to) {
  to.has_signer = s.Has("signer");
  to.signer = s.OneSecret("signer");
  if (to.signer.empty() || to.network.family() != chain::Family::kEvm) return;
  if (!crypto::PrivateKey::FromHex(to.signer.Reveal())) {
    s.Fault("signer", s.Found("signer") + ", which holds no private key",
            "a private key of 32 bytes in hex");
  }
}

}  // namespace

NetworkNames::NetworkNames(const Section& chains) {
  for (const auto& [name, node] : chains.Members()) {
    const Section s(chains.context(), node, "");
    const TomlNode* number = node->Find("chain_id");
    if (number != nullptr && number->kind == TomlNode::Kind::kInt && number->number > 0 &&
        !chain::ChainId::Parse(name)) {
      named_.emplace(name, chain::ChainId::Evm(static_cast<uint64_t>(number->number)));
    }
  }
}

std::optional<chain::ChainId> NetworkNames::Find(std::string_view name) const {
  if (const auto network = chain::ChainId::Parse(name)) return *network;
  const auto it = named_.find(name);
  return it == named_.end() ? std::nullopt : std::optional(it->second);
}

bool IsHeaderName(std::string_view name) {
  static constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           kMarks.find(c) != std::string_view::npos;
  });
}

void ReadPayTo(const Section& s, const NetworkNames& names, X402Config& to) {
  for (const auto& [name, node] : s.Members()) {
    if (node->kind != TomlNode::Kind::kString) continue;
    const auto network = names.Find(name);
    if (!network) {
      s.Fault(name, QuoteToml(name), std::string(kNetworkForm));
      continue;
    }
    for (const PayTo& other : to.pay_to) {
      if (other.network == *network) {
        s.Fault(name, QuoteToml(name) + ", which has an address already", "each network once");
      }
    }
    std::string text = node->text;
    if (text.starts_with("env:")) {
      const std::string variable = text.substr(4);
      text = s.context().sources.environment(variable).value_or("");
      if (text.empty()) {
        if (s.context().options.secrets) {
          s.Fault(name, "env:" + variable + ", which is not set",
                  "the variable " + variable + " with an address");
        } else {
          to.pay_to.push_back({.network = *network, .address = {}, .line = node->line});
        }
        continue;
      }
    }
    to.pay_to.push_back(
        {.network = *network, .address = ReadAddress(s, name, *network, text), .line = node->line});
  }
}

void ReadChains(const Section& chains, const NetworkNames& names, std::vector<ChainConfig>& to) {
  for (const auto& [name, node] : chains.Members()) {
    if (node->kind != TomlNode::Kind::kTable) continue;
    const Section s(chains.context(), node, "chain." + ShownKey(name));
    const auto network = names.Find(name);
    if (!network) {
      s.Fault("", QuoteToml(name), std::string(kNetworkForm));
      continue;
    }
    ChainConfig made{.network = *network,
                     .rpc = {},
                     .quorum_above = s.Price("quorum_above"),
                     .signer = {},
                     .assets = {},
                     .line = node->line};
    if (std::ranges::any_of(to, [&](const ChainConfig& c) { return c.network == *network; })) {
      s.Fault("", QuoteToml(name) + ", which has a [chain] already", "each network once");
    }
    const auto number = s.Int("chain_id", 1, INT64_MAX);
    if (number && static_cast<uint64_t>(*number) != network->number()) {
      s.Fault("chain_id", s.Found("chain_id"), network->Caip2() + "'s own number, or nothing");
    }
    for (const std::string& url : s.Strings("rpc")) {
      if (auto good = s.Url("rpc", url)) made.rpc.push_back(*std::move(good));
    }
    if (s.Strings("rpc").empty() && (!s.Has("rpc") || s.Found("rpc") == "an empty list")) {
      s.Fault("rpc", s.Found("rpc"), "at least one JSON-RPC URL");
    }
    // Beyond this nobody waits for a payment.
    constexpr int64_t kMostConfirmations = 1'000;
    made.confirmations =
        static_cast<uint64_t>(s.Int("confirmations", 1, kMostConfirmations).value_or(1));
    ReadSigner(s, made);
    ReadAssets(s, *network, made.assets);
    to.push_back(std::move(made));
  }
}

chain::AssetRegistry Config::Assets() const {
  chain::AssetRegistry out;
  // The file's own first, which makes them their network's default. They were judged when read.
  for (const ChainConfig& chain : chains) {
    for (const chain::EvmAsset& asset : chain.assets) (void)out.AddAsset(asset);
  }
  const chain::AssetRegistry known = chain::AssetRegistry::WithDefaults();
  for (const chain::EvmAsset& asset : known.all()) {
    if (out.Find(asset.chain, asset.address) == nullptr) (void)out.AddAsset(asset);
  }
  return out;
}

}  // namespace pontage::app
