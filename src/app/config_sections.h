#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/config.h"
#include "app/config_read.h"

// The parts ParseConfig is made of; nobody else includes this.
namespace pontage::app {

inline constexpr std::string_view kNetworkForm =
    "a network: \"base-sepolia\", \"eip155:84532\", or the name of a [chain] with chain_id";
// An answer held back lies in memory until its payment has settled.
inline constexpr size_t kMostHold = 64u << 20;

// What networks are called in this file: every name x402 knows, CAIP-2 ids, and the names of
// [chain] tables that say their chain_id.
class NetworkNames {
 public:
  explicit NetworkNames(const Section& chains);
  std::optional<chain::ChainId> Find(std::string_view name) const;

 private:
  std::map<std::string, chain::ChainId, std::less<>> named_;
};

// RFC 9110 §5.1: a token.
bool IsHeaderName(std::string_view name);

void ReadPayTo(const Section& s, const NetworkNames& names, X402Config& to);
void ReadChains(const Section& chains, const NetworkNames& names, std::vector<ChainConfig>& to);
void ReadProducts(const Section& root, std::vector<ProductConfig>& to);
// mcp, plan, license, stripe, console, tier, mail.
void ReadLaterSections(const Section& root, Config& config);
// What only the whole can show: a price nobody is paid for, a network without a chain.
void CheckWhole(const Section& root, Config& config);

}  // namespace pontage::app
