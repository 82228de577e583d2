#include "node.h"

#include "base/try.h"
#include "db/migrate.h"
#include "db/sqlite.h"
#include "testing/settle_fixture.h"

namespace pontage::sim {
namespace {

// Short, so that an hour of trouble passes in a minute.
catalog::Route RouteOf(std::string match, bool settle_before) {
  catalog::Route route;
  route.match = std::move(match);
  route.price = Money::Micros(1000);
  route.settle_before = settle_before;
  route.answer_timeout = Millis(5'000);
  return route;
}

settle::SubmitterOptions QuickSubmitter() {
  settle::SubmitterOptions options;
  options.rebroadcast = Millis(3'000);
  options.adopt = Millis(5'000);
  options.raise = Millis(6'000);
  options.heal = Millis(4'000);
  options.reorg_look = Millis(2'000);
  return options;
}

}  // namespace

Ground::Ground(uint64_t seed)
    : dice(seed),
      chain(chain::ChainId::Evm(84532),
            testing::DomainOf(*assets.DefaultOf(chain::ChainId::Evm(84532)), 84532)),
      server() {
  chain.instant = false;
  chain.keeps_time = true;
  chain.now_s = clock.Now().seconds();
  server = *db::ConnectSqlite(":memory:");
  Store store(*server, loop, dice, weather);
  PTG_CHECK(db::Migrate(store, clock).has_value());
  routes.push_back(RouteOf("GET /after", false));
  routes.push_back(RouteOf("GET /before", true));
}

void Ground::Forbid(bool happened, std::string what) {
  if (happened && violation.empty()) violation = std::move(what);
}

Node::Node(Ground& ground, int number, bool alone)
    : ground_(ground),
      clock_(ground.clock),
      loop_(clock_, Loop::Drive::kByHand),
      rng_(ground.dice.Below(UINT64_MAX)),
      store_(*ground.server, loop_, ground.dice, ground.weather),
      link_(ground.chain, ground.late, ground.dice, ground.weather) {
  std::vector<settle::Submitter*> keys;
  for (uint8_t i = 0; i < ground.signers; ++i) {
    crypto::PrivateKey key = testing::SettleFixture::Key(static_cast<uint8_t>(4 + i));
    keys_.push_back(std::make_unique<settle::Submitter>(loop_, link_, store_, std::move(key), rng_,
                                                        QuickSubmitter()));
    keys_.back()->Start();
    keys.push_back(keys_.back().get());
  }
  signers_ = std::make_unique<settle::Signers>(std::move(keys), store_, clock_);
  facilitator_ = std::make_unique<settle::LocalFacilitator>(
      std::vector<settle::LocalChain>{{&link_, signers_.get()}}, ground.assets, store_, clock_);
  rail::X402Options options;
  options.pay_to.push_back(
      {chain::ChainId::Evm(84532), testing::SettleFixture::Key(3).address().ToChecksum()});
  options.settle_timeout = Millis(8'000);
  std::vector<std::unique_ptr<rail::Rail>> rails;
  rails.push_back(*rail::X402Rail::Make(ground.routes, ground.assets, std::move(options),
                                        *facilitator_, clock_));
  rails_ = std::make_shared<const rail::RailSet>(std::move(rails));
  ledger_ =
      std::make_unique<ledger::Ledger>(store_, "node_" + std::to_string(number), clock_, rng_);
  paywall::ExchangeOptions exchange;
  exchange.verify_timeout = Millis(5'000);
  exchange.settle_timeout = Millis(8'000);
  exchange.store_timeout = Millis(3'000);
  exchange_ = std::make_unique<paywall::Exchange>(*ledger_, metrics_, clock_, rng_, exchange);
  sweeper_ =
      std::make_unique<paywall::Sweeper>(*ledger_, [this] { return rails_; }, metrics_, clock_);
  loop_.Spawn(Begin(alone), "sim.node");
}

Node::~Node() { loop_.DropSpawned(); }

// As compose.cc does it, tried until the store answers (a real process would be started again).
Task<> Node::Begin(bool alone) {
  const UnixMs started = clock_.Now();
  for (;;) {
    const Deadline by = Deadline::In(clock_, Millis(10'000));
    Result<> begun = co_await ledger_->Heartbeat(by);
    if (begun && alone) begun = co_await ledger_->ForgetOtherNodes(started, by);
    if (begun) break;
    PTG_CO_RUN(co_await Sleep(Millis(500)));
  }
  ready_ = true;
  co_return co_await sweeper_->Run();
}

void Node::Serve(std::shared_ptr<Request> request) {
  loop_.Spawn(ServeOne(std::move(request)), "sim.serve");
}

Task<> Node::ServeOne(std::shared_ptr<Request> request) {
  // However this ends, the buyer hears of it; a connection of a dead process is reset.
  struct Ender {
    Ground& ground;
    std::shared_ptr<Request> request;
    ~Ender() {
      ground.loop.Post([r = std::move(request)] {
        r->over = true;
        r->done.Set();
      });
    }
  };
  const Ender ender{ground_, request};
  const catalog::Route& route = ground_.routes[request->route];
  net::RequestHead head;
  head.method = "GET";
  head.target = request->resource;
  head.headers.Add(request->header, request->value);
  net::StringBody body("");
  const RequestId id(NewIdText("req", clock_, rng_));
  Writer writer(*request, ground_.dice);
  paywall::Reply reply(writer, id, head);
  deal::Quote quote;
  quote.route = request->route;
  quote.route_name = route.match;
  quote.price = route.price;
  quote.method = head.method;
  quote.resource = quote.target = request->resource;
  quote.resource_url = "https://shop.example" + request->resource;
  Work work(ground_.upstream, request->payment, ground_.dice, ground_.weather);
  paywall::Call call{route, quote, *rails_, head, body, work, reply};
  PTG_CO_RUN(co_await exchange_->Run(std::move(call)));
  co_return {};
}

}  // namespace pontage::sim
