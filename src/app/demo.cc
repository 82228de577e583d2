#include "app/demo.h"

#include <filesystem>
#include <stdlib.h>

#include "base/try.h"
#include "chain/evm_rpc.h"
#include "codec/json.h"
#include "sandbox/identity.h"

namespace pontage::app {
namespace {

using codec::Json;

// What is for sale: a quote for any symbol, always the same for the same one.
Task<> SampleUpstream(net::RequestHead& head, net::BodySource&, net::ResponseWriter& out) {
  constexpr std::string_view kQuotes = "/v1/quotes/";
  const std::string path = head.target.substr(0, head.target.find('?'));
  net::ResponseHead answer;
  answer.status = 200;
  answer.headers.Add("Content-Type", "application/json");
  std::string text;
  if (path == "/status") {
    text = R"({"ok":true})";
  } else if (path.starts_with(kQuotes) && path.size() > kQuotes.size()) {
    const std::string symbol = path.substr(kQuotes.size());
    uint32_t cents = 2'166'136'261;  // FNV-1a: a price that looks like one
    for (const char c : symbol) cents = (cents ^ static_cast<uint8_t>(c)) * 16'777'619;
    cents = cents % 50'000 + 1'000;
    const std::string rest = std::to_string(cents % 100);
    text = codec::ToString(Json::Object(
        {{"symbol", symbol},
         {"price", std::to_string(cents / 100) + '.' + std::string(2 - rest.size(), '0') + rest},
         {"currency", "USD"}}));
  } else {
    answer.status = 404;
    text = R"({"error":"there are only /status and /v1/quotes/SYMBOL"})";
  }
  text += '\n';
  PTG_CO_RUN(co_await out.Head(std::move(answer), text.size()));
  PTG_CO_RUN(co_await out.Write(text));
  co_return co_await out.End();
}

std::string ConfigText(const std::string& address, const std::string& dir, const std::string& rpc,
                       const std::string& upstream) {
  return "# Written by `pontage demo`, gone when it ends.\n"
         "[server]\n"
         "listen = \"" +
         address +
         "\"\n"
         "public_url = \"http://" +
         address +
         "\"\n"
         "metrics_listen = \"127.0.0.1:0\"\n"
         "log_level = \"warn\"\n\n"
         "[store]\n"
         "url = \"sqlite:" +
         dir +
         "/pontage.db\"\n\n"
         "[x402.pay_to]\n"
         "\"base-sepolia\" = \"" +
         sandbox::IdentityOf("seller").address.ToChecksum() +
         "\"\n\n"
         "[chain.\"base-sepolia\"]\n"
         "rpc = [\"" +
         rpc +
         "\"]\n"
         "signer = \"file:facilitator.key\"\n\n"
         "[[upstream]]\n"
         "name = \"sample\"\n"
         "url = \"" +
         upstream +
         "\"\n\n"
         "[[route]]\n"
         "match = \"GET /v1/quotes/*\"\n"
         "price = \"$0.001\"\n"
         "plans = [\"pro\"]\n"
         "description = \"A price for one symbol\"\n"
         "mime_type = \"application/json\"\n\n"
         "[[route]]\n"
         "match = \"/status\"\n"
         "price = \"free\"\n";
}

Task<buyer::Purchase> Buy(Loop& loop, std::string url, std::string rpc, const Clock& clock,
                          Rng& rng) {
  const std::vector<std::string> urls{std::move(rpc)};
  PTG_CO_TRY(const std::unique_ptr<chain::EvmRpc> view,
             chain::EvmRpc::Make(chain::ChainId::Evm(84532), urls, clock));
  const chain::AssetRegistry assets = chain::AssetRegistry::WithDefaults();
  buyer::SpendLedger book;
  net::Client client(loop);
  buyer::PayClient::Options options;
  options.verify_receipt = true;
  buyer::PayClient payer(client, assets, &sandbox::IdentityOf("buyer").key, book, view.get(), clock,
                         rng, options);
  buyer::Wanted wanted;
  wanted.url = std::move(url);
  co_return co_await payer.Buy(std::move(wanted), Deadline::In(clock, Millis(60'000)));
}

// Stripe and the mails say where the gateway is, so it is decided before it listens.
Result<std::string> AddressOf(uint16_t port) {
  if (port == 0) {
    PTG_TRY(const std::unique_ptr<LocalServer> free,
            LocalServer::Start("127.0.0.1:0", &SampleUpstream));
    port = free->port();
  }
  return "127.0.0.1:" + std::to_string(port);
}

}  // namespace

Demo::Demo(const Clock& clock, Rng& rng) : clock_(clock), rng_(rng), chain_({}, clock) {}

Result<std::unique_ptr<Demo>> Demo::Start(uint16_t port, const Clock& clock, Rng& rng) {
  std::unique_ptr<Demo> demo(new Demo(clock, rng));
  PTG_RUN(demo->Build(port));
  return demo;
}

Result<> Demo::Build(uint16_t port) {
  std::error_code failure;
  std::string pattern =
      (std::filesystem::temp_directory_path(failure) / "pontage-demo-XXXXXX").string();
  if (failure || mkdtemp(pattern.data()) == nullptr) {
    return Fail(Code::kConfig, "cannot make a directory for the demo: " + pattern);
  }
  dir_ = pattern;
  config_path_ = dir_ + "/pontage.toml";
  PTG_TRY(rpc_, LocalServer::Start("127.0.0.1:0", sandbox::RpcHandler(chain_)));
  PTG_TRY(upstream_, LocalServer::Start("127.0.0.1:0", &SampleUpstream));
  PTG_TRY(const std::string address, AddressOf(port));
  PTG_TRY(shop_, DemoShop::Open(dir_, "http://" + address, clock_, rng_));
  const std::string text = ConfigText(address, dir_, rpc_->url(), upstream_->url()) + shop_->Toml();
  PTG_RUN(WritePrivate(dir_ + "/facilitator.key",
                       sandbox::IdentityOf("facilitator").key.ToHex().Reveal()));
  PTG_RUN(WritePrivate(config_path_, text));

  // What the caller's environment says about his own Pontage must not reach this one.
  ConfigSources sources = ConfigSources::System();
  sources.environment = [](const std::string&) { return std::optional<std::string>(); };
  auto config = ParseConfig(text, config_path_, sources);
  if (!config) return Fail(Code::kInternal, config.error().front().Text());
  SetLogLevel(config->server.log_level);
  PTG_TRY(house_, House::Make(*std::move(config), {}, AllRoles(), clock_, rng_));
  PTG_RUN(house_->Start());
  started_ = true;
  return {};
}

Demo::~Demo() {
  if (started_) house_->Stop();
  house_.reset();
  shop_.reset();
  upstream_.reset();
  rpc_.reset();
  std::error_code ignored;
  if (!dir_.empty()) std::filesystem::remove_all(dir_, ignored);
}

Result<buyer::Purchase> Demo::BuyOnce() {
  Loop loop;
  return loop.RunUntilDone(Buy(loop, paid_url(), rpc(), clock_, rng_));
}

Result<DemoShop::Bought> Demo::BuyLicense() {
  Loop loop;
  return loop.RunUntilDone(shop_->Buy(paid_url()));
}

}  // namespace pontage::app
