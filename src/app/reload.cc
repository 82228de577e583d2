#include "app/reload.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace pontage::app {
namespace {

bool Same(const Secret& a, const Secret& b) { return a.Matches(b.Reveal()); }

bool Same(const std::vector<Secret>& a, const std::vector<Secret>& b) {
  return std::ranges::equal(a, b, [](const Secret& x, const Secret& y) { return Same(x, y); });
}

bool Same(const std::vector<chain::EvmAsset>& a, const std::vector<chain::EvmAsset>& b) {
  return std::ranges::equal(a, b, [](const chain::EvmAsset& x, const chain::EvmAsset& y) {
    return x.address == y.address && x.symbol == y.symbol && x.decimals == y.decimals &&
           x.eip712_name == y.eip712_name && x.eip712_version == y.eip712_version &&
           x.method == y.method;
  });
}

bool Same(const std::vector<PayTo>& a, const std::vector<PayTo>& b) {
  return std::ranges::equal(a, b, [](const PayTo& x, const PayTo& y) {
    return x.network == y.network && x.address == y.address;
  });
}

bool Has(const Config& config, std::string_view role) {
  const std::vector<std::string> roles = config.Roles();
  return std::ranges::find(roles, role) != roles.end();
}

bool IsUrl(const std::string& jwks) { return jwks.contains("://"); }

using Differs = std::function<bool(const Config&, const Config&)>;
struct Row {
  const char* key;
  Differs differs;
};

// A key of a chain differs when it does on any chain that both have.
Differs OfChains(bool (*same)(const ChainConfig&, const ChainConfig&)) {
  return [same](const Config& a, const Config& b) {
    return std::ranges::any_of(a.chains, [&](const ChainConfig& one) {
      const ChainConfig* other = b.ChainOf(one.network);
      return other != nullptr && !same(one, *other);
    });
  };
}

bool OtherChains(const Config& a, const Config& b) {
  return a.chains.size() != b.chains.size() ||
         std::ranges::any_of(
             a.chains, [&b](const ChainConfig& one) { return b.ChainOf(one.network) == nullptr; });
}

bool OtherMail(const Config& x, const Config& y) {
  const MailConfig& a = x.mail;
  const MailConfig& b = y.mail;
  return a.provider != b.provider || !Same(a.api_key, b.api_key) || a.api_base != b.api_base ||
         a.from != b.from || a.host != b.host || a.port != b.port || a.user != b.user ||
         !Same(a.password, b.password) || !Same(a.webhook_secrets, b.webhook_secrets) ||
         a.receipts != b.receipts;
}

bool OtherConsole(const Config& a, const Config& b) {
  const ConsoleConfig& x = a.console;
  const ConsoleConfig& y = b.console;
  const bool same_keys =
      std::ranges::equal(x.keys, y.keys, [](const ConsoleKeyConfig& k, const ConsoleKeyConfig& l) {
        return k.name == l.name && Same(k.key, l.key) && k.scopes == l.scopes;
      });
  return x.present != y.present || !Same(x.operator_key, y.operator_key) ||
         !Same(x.session_key, y.session_key) || x.refunds_per_day != y.refunds_per_day ||
         x.refund_limit != y.refund_limit || x.sales_store != y.sales_store ||
         x.ledger_store != y.ledger_store || !same_keys;
}

// What the role `sales` sells: the gateway takes plans anew, the shop is as it was at start.
bool OtherSale(const Config& a, const Config& b) {
  if (a.license.signing_key.empty() || a.stripe.api_key.empty()) return false;
  return !std::ranges::equal(a.plans, b.plans, [&](const PlanConfig& x, const PlanConfig& y) {
    return x.name == y.name && x.products == y.products && x.tier == y.tier && x.price == y.price &&
           x.stripe_price == y.stripe_price && x.days == y.days && x.trial_days == y.trial_days &&
           x.limits == y.limits && a.IsFernet(x) == b.IsFernet(y);
  });
}

const std::vector<Row>& Rows() {
  using C = Config;
  using N = ChainConfig;
  static const std::vector<Row> rows = {
      {"server.listen", [](const C& a, const C& b) { return a.server.listen != b.server.listen; }},
      {"server.metrics_listen",
       [](const C& a, const C& b) { return a.server.metrics_listen != b.server.metrics_listen; }},
      {"server.threads",
       [](const C& a, const C& b) { return a.server.threads != b.server.threads; }},
      {"server.tls",
       [](const C& a, const C& b) { return a.server.tls.has_value() != b.server.tls.has_value(); }},
      {"store.url", [](const C& a, const C& b) { return a.store.url != b.store.url; }},
      {"x402.facilitator",
       [](const C& a, const C& b) {
         return a.x402.local_facilitator != b.x402.local_facilitator ||
                a.x402.facilitator_urls != b.x402.facilitator_urls;
       }},
      {"x402.facilitator_token",
       [](const C& a, const C& b) {
         return !Same(a.x402.facilitator_token, b.x402.facilitator_token);
       }},
      {"x402.check_receipts",
       [](const C& a, const C& b) { return a.x402.check_receipts != b.x402.check_receipts; }},
      {"x402.settle_timeout",
       [](const C& a, const C& b) { return a.x402.settle_timeout != b.x402.settle_timeout; }},
      {"facilitator.tokens",
       [](const C& a, const C& b) { return !Same(a.facilitator.tokens, b.facilitator.tokens); }},
      {"license.feed", [](const C& a, const C& b) { return a.license.feed != b.license.feed; }},
      {"license.fernet_keys",  // what makes licenses; what checks them is at work at once
       [](const C& a, const C& b) {
         return Has(a, "sales") && !Same(a.license.fernet_keys, b.license.fernet_keys);
       }},
      {"license.jwks",
       [](const C& a, const C& b) {
         return a.license.jwks != b.license.jwks &&
                (IsUrl(a.license.jwks) || IsUrl(b.license.jwks));
       }},
      {"license.signing_key",
       [](const C& a, const C& b) {
         return a.license.public_half.empty() &&
                !Same(a.license.signing_key, b.license.signing_key);
       }},
      {"license.delivery",
       [](const C& a, const C& b) { return a.license.delivery != b.license.delivery; }},
      {"stripe",
       [](const C& a, const C& b) {
         return !Same(a.stripe.api_key, b.stripe.api_key) ||
                !Same(a.stripe.webhook_secrets, b.stripe.webhook_secrets) ||
                a.stripe.api_base != b.stripe.api_base;
       }},
      {"console", OtherConsole},
      {"mail", OtherMail},
      {"plan", OtherSale},
      {"chain", OtherChains},
      {"chain.*.rpc", OfChains([](const N& a, const N& b) { return a.rpc == b.rpc; })},
      {"chain.*.confirmations",
       OfChains([](const N& a, const N& b) { return a.confirmations == b.confirmations; })},
      {"chain.*.quorum_above",
       OfChains([](const N& a, const N& b) { return a.quorum_above == b.quorum_above; })},
      {"chain.*.signer",
       OfChains([](const N& a, const N& b) { return Same(a.signers, b.signers); })},
      {"chain.*.batch", OfChains([](const N& a, const N& b) { return a.batch == b.batch; })},
      {"chain.*.gas_cap", OfChains([](const N& a, const N& b) { return a.gas_cap == b.gas_cap; })},
      {"chain.*.max_fee_per_gas",
       OfChains([](const N& a, const N& b) { return a.max_fee_per_gas == b.max_fee_per_gas; })},
      {"chain.*.gas_per_hour",
       OfChains([](const N& a, const N& b) { return a.gas_per_hour == b.gas_per_hour; })},
      {"chain.*.assets", OfChains([](const N& a, const N& b) { return Same(a.assets, b.assets); })},
  };
  return rows;
}

}  // namespace

std::vector<std::string> KeysForNextStart(const Config& running, const Config& wanted,
                                          bool gateway) {
  std::vector<std::string> keys;
  for (const Row& row : Rows()) {
    if (row.differs(running, wanted)) keys.emplace_back(row.key);
  }
  if (gateway) return keys;
  if (running.server.log_level != wanted.server.log_level) keys.emplace_back("server.log_level");
  // Of the gateway it is in the offers; of the facilitator alone, in what it settles for strangers.
  if (!Same(running.x402.pay_to, wanted.x402.pay_to)) keys.emplace_back("x402.pay_to");
  return keys;
}

Config Applied(Config running, Config wanted) {
  wanted.server.listen = std::move(running.server.listen);
  wanted.server.metrics_listen = std::move(running.server.metrics_listen);
  wanted.server.threads = running.server.threads;
  // Plain or not is for the next start; which files is not.
  if (running.server.tls.has_value() != wanted.server.tls.has_value()) {
    wanted.server.tls = std::move(running.server.tls);
  }
  wanted.store = std::move(running.store);
  wanted.x402.local_facilitator = running.x402.local_facilitator;
  wanted.x402.facilitator_urls = std::move(running.x402.facilitator_urls);
  wanted.x402.facilitator_token = std::move(running.x402.facilitator_token);
  wanted.x402.check_receipts = running.x402.check_receipts;
  wanted.x402.settle_timeout = running.x402.settle_timeout;
  wanted.facilitator = std::move(running.facilitator);
  wanted.license.feed = std::move(running.license.feed);
  wanted.license.delivery = running.license.delivery;
  wanted.license.signing_key = std::move(running.license.signing_key);
  wanted.license.public_half = std::move(running.license.public_half);
  wanted.license.signing_key_file = std::move(running.license.signing_key_file);
  if (IsUrl(running.license.jwks) || IsUrl(wanted.license.jwks)) {
    wanted.license.jwks = std::move(running.license.jwks);
  }
  wanted.stripe = std::move(running.stripe);
  wanted.mail = std::move(running.mail);
  wanted.console = std::move(running.console);
  wanted.chains = std::move(running.chains);
  return wanted;
}

}  // namespace pontage::app
