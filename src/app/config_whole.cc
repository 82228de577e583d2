#include <algorithm>

#include "app/config_sections.h"
#include "catalog/route_table.h"

namespace pontage::app {
namespace {

std::string Named(const chain::ChainId& network) {
  const auto name = network.V1Name();
  return '"' + (name ? std::string(*name) : network.Caip2()) + '"';
}

std::string Shown(const chain::ChainId& network) {
  const auto name = network.V1Name();
  return ShownKey(name ? *name : network.Caip2());
}

// Dollars to six decimals in a token of fewer: exact, or nothing.
bool Exact(Money price, uint8_t decimals) {
  int64_t least = 1;
  for (unsigned d = decimals; d < 6; ++d) least *= 10;
  return price.micros() % least == 0;
}

struct Whole {
  const Section& root;
  Config& config;
  const chain::AssetRegistry assets = config.Assets();

  void Fault(int line, std::string key, std::string found, std::string expected) const {
    root.context().Fault(line, std::move(key), std::move(found), std::move(expected));
  }

  // A network that is paid on must be one we can price, and, when we settle ourselves, reach.
  void Network(const PayTo& to) const {
    const std::string key = "x402.pay_to." + Shown(to.network);
    if (to.network.family() != chain::Family::kEvm) {
      config.warnings.push_back(config.file + ':' + std::to_string(to.line) + ": " + key +
                                ": Solana is not in this version; nothing is offered on it");
      return;
    }
    const chain::EvmAsset* asset = assets.DefaultOf(to.network);
    if (asset == nullptr) {
      Fault(to.line, key, "a network whose tokens are not known",
            "assets in [chain." + Named(to.network) + "]");
    } else if (asset->method != chain::TransferMethod::kEip3009) {
      Fault(to.line, key, asset->symbol + ", which only Permit2 can move",
            "a network whose token has EIP-3009, or other assets in its [chain]");
    }
    const ChainConfig* chain = config.ChainOf(to.network);
    if (config.x402.local_facilitator) {
      if (chain == nullptr) {
        Fault(to.line, key, "no [chain." + Named(to.network) + "]",
              "its rpc and signer, because x402.facilitator is \"local\"");
      } else if (!chain->has_signer) {
        Fault(chain->line, "chain." + Shown(to.network) + ".signer", "nothing",
              "\"env:NAME\" or \"file:path\", because x402.facilitator is \"local\"");
      }
    } else if (config.x402.check_receipts && chain == nullptr) {
      Fault(to.line, key, "no [chain." + Named(to.network) + "]",
            "its rpc, because x402.check_receipts is true");
    }
  }

  void Route(const RouteConfig& route) const {
    for (const chain::ChainId& network : route.networks) {
      if (config.PayToOf(network) == nullptr) {
        Fault(route.line, "route.networks", Named(network), "networks of [x402.pay_to]");
      }
    }
    for (const int version : route.versions) {
      if (std::ranges::find(config.x402.versions, version) == config.x402.versions.end()) {
        Fault(route.line, "route.versions", std::to_string(version),
              "versions that x402.versions has too");
      }
    }
    if (route.free || route.price == Money::Zero()) return;
    const auto& versions = route.versions.empty() ? config.x402.versions : route.versions;
    bool payable = false;
    for (const PayTo& to : config.x402.pay_to) {
      const bool wanted = route.networks.empty() ||
                          std::ranges::find(route.networks, to.network) != route.networks.end();
      if (!wanted || to.network.family() != chain::Family::kEvm) continue;
      const chain::EvmAsset* asset = assets.DefaultOf(to.network);
      if (asset != nullptr && !Exact(route.price, asset->decimals)) {
        Fault(route.line, "route.price", route.price.ToString(),
              "an amount that is exact in the " + std::to_string(asset->decimals) +
                  " decimals of " + asset->symbol + " on " + Named(to.network));
      }
      payable = payable || to.network.V1Name() || std::ranges::find(versions, 2) != versions.end();
    }
    // Addresses with faults of their own have been named.
    const bool faulty =
        config.x402.pay_to.empty() && !root.Child("x402").Child("pay_to").Members().empty();
    if (payable || faulty) return;
    Fault(route.line, "route.price", route.price.ToString() + " and nobody to pay it to",
          config.x402.pay_to.empty()
              ? "an address in [x402.pay_to]"
              : "a network of [x402.pay_to] that can be paid on in the route's versions");
  }
};

// What a `match` means is the catalog's: that each has a meaning, and that no two have the same.
// The first one at fault is the last of the shortest list that is no table.
void Matches(const Whole& whole) {
  std::vector<std::string> matches;
  for (const RouteConfig& route : whole.config.routes) {
    if (route.match.empty()) return;  // has been named
    matches.push_back(route.match);
  }
  if (catalog::RouteTable::Make(matches)) return;
  size_t good = 0;
  for (size_t bad = matches.size(); bad - good > 1;) {
    const size_t middle = good + (bad - good) / 2;
    const auto end = matches.begin() + static_cast<std::ptrdiff_t>(middle);
    (catalog::RouteTable::Make({matches.begin(), end}) ? good : bad) = middle;
  }
  matches.resize(good + 1);
  const auto made = catalog::RouteTable::Make(matches);
  if (made) return;
  const Error& why = made.error();
  whole.Fault(whole.config.routes[good].line, "route.match",
              QuoteToml(matches[good]) + " (" + why.detail() + ")", why.expected());
}

}  // namespace

void CheckWhole(const Section& root, Config& config) {
  const Whole whole{.root = root, .config = config};
  for (const PayTo& to : config.x402.pay_to) whole.Network(to);
  for (const RouteConfig& route : config.routes) whole.Route(route);
  Matches(whole);
}

}  // namespace pontage::app
