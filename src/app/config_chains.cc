#include <algorithm>
#include <array>
#include <set>

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

void ReadSigners(const Section& s, ChainConfig& to) {
  to.has_signer = s.Has("signer");
  to.signers = s.Secrets("signer");
  if (to.network.family() != chain::Family::kEvm) return;
  std::set<crypto::EvmAddress> seen;
  for (const Secret& signer : to.signers) {
    if (signer.empty()) continue;
    const auto key = crypto::PrivateKey::FromHex(signer.Reveal());
    if (!key) {
      s.Fault("signer", s.Found("signer") + ", which holds no private key",
              "a private key of 32 bytes in hex");
    } else if (!seen.insert(key->address()).second) {
      s.Fault("signer", s.Found("signer") + ", one key twice", "each key once");
    }
  }
}

constexpr std::string_view kWeiForm = "an amount of gas money, \"20 gwei\" or \"0.05 ether\"";

void ReadGas(const Section& s, ChainConfig& to) {
  // One call of a node simulates at most kMaxCalls.
  constexpr int64_t kMostBatch = 100;
  to.batch = static_cast<size_t>(s.Int("batch", 1, kMostBatch).value_or(50));
  // From a bare transfer to what a transaction may have at all (EIP-7825).
  to.gas_cap = static_cast<uint64_t>(s.Int("gas_cap", 21'000, 1 << 24).value_or(500'000));
  const auto read = [&s](std::string_view key) -> std::optional<codec::Uint256> {
    const auto text = s.String(key);
    if (!text) return std::nullopt;
    const auto wei = ParseWei(*text);
    if (wei && !wei->IsZero()) return wei;
    s.Fault(key, s.Found(key), std::string(kWeiForm));
    return std::nullopt;
  };
  if (const auto wei = read("max_fee_per_gas")) to.max_fee_per_gas = *wei;
  to.gas_per_hour = read("gas_per_hour");
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
                     .signers = {},
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
    if (made.quorum_above && made.rpc.size() < 2) {
      s.Fault("rpc", s.Found("rpc"), "at least two, because quorum_above asks for two that agree");
    }
    // Beyond this nobody waits for a payment.
    constexpr int64_t kMostConfirmations = 1'000;
    made.confirmations =
        static_cast<uint64_t>(s.Int("confirmations", 1, kMostConfirmations).value_or(1));
    ReadSigners(s, made);
    ReadGas(s, made);
    ReadAssets(s, *network, made.assets);
    to.push_back(std::move(made));
  }
}

namespace {

constexpr std::array<std::pair<std::string_view, size_t>, 3> kWeiUnits = {
    {{"ether", 18}, {"gwei", 9}, {"wei", 0}}};

}  // namespace

std::optional<codec::Uint256> ParseWei(std::string_view text) {
  size_t decimals = 0;
  for (const auto& [unit, places] : kWeiUnits) {
    if (!text.ends_with(unit)) continue;
    text.remove_suffix(unit.size());
    decimals = places;
    break;
  }
  while (text.ends_with(' ')) text.remove_suffix(1);
  std::string digits(text);
  if (const size_t point = digits.find('.'); point != std::string::npos) {
    const size_t after = digits.size() - point - 1;
    if (point == 0 || after == 0 || after > decimals) return std::nullopt;
    digits.erase(point, 1);
    decimals -= after;
  }
  if (digits.empty() || digits.size() > codec::Uint256::kMaxDigits) return std::nullopt;
  digits.append(decimals, '0');
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size() - 1));
  const auto wei = codec::Uint256::FromDecimal(digits);
  return wei ? std::optional(*wei) : std::nullopt;
}

std::string WeiText(const codec::Uint256& wei) {
  const std::string digits = wei.ToDecimal();
  for (const auto& [unit, places] : kWeiUnits) {
    if (digits.size() <= places) continue;
    const size_t whole = digits.size() - places;
    if (digits.find_first_not_of('0', whole) != std::string::npos) continue;
    return digits.substr(0, whole) + ' ' + std::string(unit);
  }
  return digits + " wei";
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
