#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <unistd.h>

#include "app/cli/commands.h"
#include "app/cli/text.h"
#include "base/try.h"
#include "buyer/pay_client.h"
#include "chain/evm_rpc.h"
#include "codec/base64.h"
#include "io/runtime.h"

namespace pontage::app {
namespace {

using buyer::Outcome;
using codec::Json;

// "env:NAME", "file:path", or nothing and PONTAGE_BUYER_KEY. nullopt when there is none.
Result<std::optional<crypto::PrivateKey>> BuyerKey(const std::string& reference) {
  const ConfigSources sources = ConfigSources::System();
  std::string text;
  if (reference.empty()) {
    text = sources.environment("PONTAGE_BUYER_KEY").value_or("");
    if (text.empty()) return std::optional<crypto::PrivateKey>();
  } else if (reference.starts_with("env:")) {
    text = sources.environment(reference.substr(4)).value_or("");
    if (text.empty()) return Fail(Code::kUsage, reference + " is not set");
  } else if (reference.starts_with("file:")) {
    auto read = sources.read_file(reference.substr(5));
    if (!read) return Fail(Code::kUsage, read.error().detail());
    text = *std::move(read);
  } else {
    return Fail(
        Error(Code::kUsage, "--key does not take the key itself").Want("env:NAME or file:PATH"));
  }
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) {
    text.pop_back();
  }
  const Secret secret(std::move(text));
  auto key = crypto::PrivateKey::FromHex(secret.Reveal());
  if (!key) return Fail(Error(Code::kUsage, "that is no private key").Want("32 bytes in hex"));
  return std::optional(*std::move(key));
}

Result<std::string> BodyOf(const std::string& data) {
  if (!data.starts_with('@')) return data;
  if (data == "@-") {
    return std::string(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>());
  }
  std::ifstream in(data.substr(1), std::ios::binary);
  if (!in) return Fail(Code::kUsage, "cannot open " + data.substr(1));
  return std::string(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
}

Result<buyer::Wanted> WantedOf(const PayOptions& options) {
  buyer::Wanted wanted;
  if (const auto url = net::ParseUrl(options.url); !url) {
    return Fail(Error(Code::kUsage, "no URL to buy from: " + options.url)
                    .Want("http:// or https://, a host and a path"));
  }
  wanted.url = options.url;
  wanted.method = !options.method.empty() ? options.method : options.data.empty() ? "GET" : "POST";
  PTG_TRY(wanted.body, BodyOf(options.data));
  bool typed = options.data.empty();
  for (const std::string& header : options.headers) {
    const size_t colon = header.find(':');
    if (colon == std::string::npos || colon == 0) {
      return Fail(Error(Code::kUsage, "no header: " + header).Want("Name: value"));
    }
    const size_t value = std::min(header.find_first_not_of(' ', colon + 1), header.size());
    wanted.headers.emplace_back(header.substr(0, colon), header.substr(value));
    typed = typed || net::EqualsNoCase(wanted.headers.back().first, "Content-Type");
  }
  if (!typed) wanted.headers.emplace_back("Content-Type", "application/json");
  return wanted;
}

Result<buyer::Policy> PolicyOf(const PayOptions& options) {
  buyer::Policy policy;
  policy.hosts = options.hosts;
  auto max = ParseMoney(options.max);
  if (!max) return Fail(Error(Code::kUsage, "--max " + options.max).Want("dollars, like 0.05"));
  policy.max = *max;
  for (const std::string& name : options.networks) {
    auto network = chain::ChainId::Parse(name);
    if (!network)
      return Fail(Error(Code::kUsage, "no network: " + name).Want(network.error().expected()));
    policy.networks.push_back(*std::move(network));
  }
  for (const std::string& text : options.assets) {
    const auto asset = crypto::EvmAddress::Parse(text);
    if (!asset)
      return Fail(Error(Code::kUsage, "no token: " + text).Want(asset.error().expected()));
    policy.assets.push_back(*asset);
  }
  return policy;
}

// The book lies where programs keep their state.
Result<buyer::SpendLedger> BookOf(const PayOptions& options) {
  std::string path = options.book;
  if (path == "none") return buyer::SpendLedger();
  if (path.empty()) {
    const ConfigSources sources = ConfigSources::System();
    const auto state = sources.environment("XDG_STATE_HOME");
    const auto home = sources.environment("HOME");
    if (state && state->starts_with('/')) {
      path = *state + "/pontage/spent.jsonl";
    } else if (home && home->starts_with('/')) {
      path = *home + "/.local/state/pontage/spent.jsonl";
    } else {
      return buyer::SpendLedger();
    }
  }
  return buyer::SpendLedger::Open(path, getpid());
}

Task<std::unique_ptr<chain::EvmRpc>> ViewOf(std::string url, Deadline by) {
  if (url.empty()) co_return nullptr;
  const std::vector<std::string> urls{std::move(url)};
  // Whatever chain the node is on.
  PTG_CO_TRY(const std::unique_ptr<chain::EvmRpc> any,
             chain::EvmRpc::Make(chain::ChainId::Evm(1), urls, Clock::System()));
  PTG_CO_TRY(const uint64_t number, co_await any->ChainNumber(by));
  co_return chain::EvmRpc::Make(chain::ChainId::Evm(number), urls, Clock::System());
}

struct Errand {
  const PayOptions& options;
  const chain::AssetRegistry& assets;
  const crypto::PrivateKey* key;
  buyer::SpendLedger& book;
  buyer::Wanted wanted;
  buyer::PayClient::Options client;
};

Task<buyer::Purchase> Run(Loop& loop, Errand& errand, Deadline by) {
  std::string rpc = errand.options.rpc;
  PTG_CO_TRY(const std::unique_ptr<chain::EvmRpc> view, co_await ViewOf(std::move(rpc), by));
  net::Client client(loop);
  buyer::PayClient payer(client, errand.assets, errand.key, errand.book, view.get(),
                         Clock::System(), Rng::System(), errand.client);
  buyer::Wanted wanted = errand.wanted;
  co_return co_await payer.Buy(std::move(wanted), by);
}

Json Describe(const buyer::Purchase& p, Money max, bool with_body) {
  Json json = Json::Object({{"outcome", buyer::ToString(p.outcome)}, {"status", p.status}});
  if (p.choice) {
    json.Set("x402Version", p.version);
    json.Set("price", p.choice->price.ToString());
    json.Set("amount", p.choice->requirements.amount.ToDecimal());
    json.Set("asset", p.choice->asset.address.ToChecksum());
    json.Set("symbol", p.choice->asset.symbol);
    json.Set("network", p.choice->asset.chain.Caip2());
    json.Set("payTo", p.choice->pay_to.ToChecksum());
    json.Set("allowed", p.choice->price <= max);
  }
  if (p.payment) {
    json.Set("payer", p.payment->authorization.from.ToChecksum());
    json.Set("sentAgain", p.sent_again);
  }
  if (p.receipt) {
    json.Set("transaction", p.receipt->transaction);
    json.Set("receipt", p.receipt->ToJson());
  }
  if (p.payment) json.Set("charged", p.charged);
  if (p.proven) json.Set("proven", true);
  if (!p.why.empty()) json.Set("why", IsUtf8(p.why) ? p.why : "unreadable");
  if (!with_body) return json;
  if (IsUtf8(p.body)) {
    json.Set("body", p.body);
  } else {
    json.Set("bodyBase64", codec::EncodeBase64(p.body));
  }
  return json;
}

void TellPerson(const buyer::Purchase& p, Money max) {
  if (p.outcome == Outcome::kFree) return;
  const std::string price = p.choice->price.ToString() + " (" +
                            p.choice->requirements.amount.ToDecimal() + " of " +
                            p.choice->asset.symbol + " on " + p.choice->asset.chain.Caip2() +
                            ") to " + p.choice->pay_to.ToChecksum();
  switch (p.outcome) {
    case Outcome::kQuoted:
      Complain(
          "It costs " + price + ". Nothing was signed." +
          (p.choice->price > max ? " That is above the limit of " + max.ToString() + '.' : ""));
      return;
    case Outcome::kPaid:
      Complain("Paid " + price + ", transaction " + p.receipt->transaction +
               (p.proven ? ", seen on the chain" : ""));
      if (!p.why.empty()) Complain("But the receipt could not be verified: " + p.why);
      return;
    case Outcome::kServed:
      Complain("Answered with " + std::to_string(p.status) + ", but " + p.why);
      return;
    case Outcome::kRefused:
      Complain("Not paid: " + p.why);
      return;
    default:
      Complain("What became of the payment was not seen: " + p.why +
               ". The same command shows the same payment again.");
  }
}

int ExitOfPurchase(const buyer::Purchase& p) {
  switch (p.outcome) {
    case Outcome::kQuoted:
      return kDryRun;
    case Outcome::kPaid:
      // Paid, and yet the chain does not say so: whoever asked to have it checked must hear it.
      return p.why.empty() ? kDone : kFailed;
    case Outcome::kRefused:
      return kNotPaid;
    case Outcome::kUnknown:
      return kNoConnection;
    case Outcome::kFree:
    case Outcome::kServed:
      break;
  }
  if (p.status < 400) return kDone;
  if (p.status == 401 || p.status == 403) return kRefused;
  return p.status == 404 ? kMissing : kFailed;
}

Result<> WriteBody(const std::string& path, const std::string& body) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << body;
  out.flush();
  if (!out) return Fail(Code::kInternal, "cannot write " + path);
  return {};
}

Result<chain::AssetRegistry> KnownAssets(const CommonOptions& common) {
  if (!common.config_given) return chain::AssetRegistry::WithDefaults();
  const auto config = LoadConfigOrComplain(common, {.secrets = false});
  if (!config) return Fail(Code::kConfig, "the configuration is not good");
  return config->Assets();
}

}  // namespace

int Pay(const CommonOptions& common, const PayOptions& options) {
  const auto assets = KnownAssets(common);
  if (!assets) return FailWith(common, assets.error());
  const auto key = BuyerKey(options.key);
  if (!key) return FailWith(common, key.error());
  auto wanted = WantedOf(options);
  if (!wanted) return FailWith(common, wanted.error());
  auto policy = PolicyOf(options);
  if (!policy) return FailWith(common, policy.error());
  const auto patience = ParseDuration(options.timeout);
  if (!patience) return FailWith(common, Error(Code::kUsage, patience.error().detail()));
  auto book = options.dry_run ? buyer::SpendLedger() : BookOf(options);
  if (!book) return FailWith(common, book.error());

  const Money max = policy->max;
  // A dry run says what it costs even when that is too much.
  if (options.dry_run) policy->max = Money::Micros(INT64_MAX);
  Errand errand{.options = options,
                .assets = *assets,
                .key = *key ? &**key : nullptr,
                .book = *book,
                .wanted = *std::move(wanted),
                .client = {.policy = *std::move(policy),
                           .dry_run = options.dry_run,
                           .verify_receipt = !options.rpc.empty()}};
  Loop loop;
  const auto done = loop.RunUntilDone(Run(loop, errand, Deadline::In(Clock::System(), *patience)));
  if (!done) return FailWith(common, done.error());
  if (done->outcome == Outcome::kQuoted && !options.dry_run) {
    return FailWith(common, Error(Code::kUsage, "it costs " + done->choice->price.ToString() +
                                                    " and there is no key to pay with")
                                .Want("--key env:NAME, --key file:PATH or PONTAGE_BUYER_KEY"));
  }
  const bool to_file = !options.output.empty();
  if (to_file && done->outcome != Outcome::kQuoted) {
    if (const auto wrote = WriteBody(options.output, done->body); !wrote) {
      return FailWith(common, wrote.error());
    }
  }
  if (WantsJson(common)) {
    PrintJson(Describe(*done, max, !to_file && done->outcome != Outcome::kQuoted));
  } else {
    TellPerson(*done, max);
    if (!to_file && done->outcome != Outcome::kQuoted) PrintLine(done->body);
  }
  return ExitOfPurchase(*done);
}

}  // namespace pontage::app
