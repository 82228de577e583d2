#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>

#include "crypto/hash.h"
#include "facilitator/facilitator_api.h"
#include "io/fork.h"
#include "net/client.h"
#include "net/server.h"
#include "testing/settle_fixture.h"

namespace pontage::facilitator {
namespace {

using testing::SettleFixture;

// More than any note that is kept of signatures, so that each is new when it comes again.
constexpr size_t kPayments = 20'000;
constexpr size_t kOutstanding = 64;
constexpr size_t kBatch = 640;

// Where an answer goes that nobody reads.
class Sink final : public net::ResponseWriter {
 public:
  Task<> Interim(const net::ResponseHead&) override { co_return {}; }
  Task<> Head(net::ResponseHead head, std::optional<uint64_t>) override {
    PTG_CHECK(head.status == 200);
    sent_ = true;
    co_return {};
  }
  Task<> Write(std::string_view bytes, bool) override {
    PTG_CHECK(bytes.starts_with(R"({"isValid":true)"));
    co_return {};
  }
  Task<> End(const net::Headers*) override { co_return {}; }
  Task<> Upgrade(net::ResponseHead) override { co_return {}; }
  bool head_sent() const override { return sent_; }
  void Abort() override {}
  bool client_gone() const override { return false; }

 private:
  bool sent_ = false;
};

// A facilitator whose chain is in this process, and payments for it.
struct Shop {
  Shop() {
    ApiOptions options;
    options.at_root = true;
    options.pay_to = {{chain::ChainId::Evm(84532), SettleFixture::Key(3).address()}};
    api = std::make_unique<FacilitatorApi>(*f.facilitator, f.assets, std::move(options),
                                           Clock::System(), Rng::System());
    SettleFixture::Sale sale = f.Make(1);
    for (size_t i = 0; i < kPayments; ++i) {
      std::memcpy(sale.auth.nonce.data(), &i, sizeof i);
      f.Sign(sale);
      bodies.push_back(
          codec::ToString(x402::FacilitatorRequestJson(sale.payment, sale.requirements)));
    }
  }
  static net::RequestHead Head() {
    net::RequestHead head;
    head.method = "POST";
    head.target = "/verify";
    head.headers.Add("Content-Type", "application/json");
    return head;
  }
  const std::string& Next() { return bodies[next++ % bodies.size()]; }

  SettleFixture f{testing::EngineKind::kSqlite};
  std::unique_ptr<FacilitatorApi> api;
  std::vector<std::string> bodies;
  size_t next = 0;
};

// From the bytes of the request's body to those of the answer's.
void BM_Verify(benchmark::State& state) {
  Shop shop;
  const auto batch = [&]() -> Task<> {
    for (size_t i = 0; i < kBatch; ++i) {
      net::RequestHead head = Shop::Head();
      net::StringBody body(shop.Next());
      Sink out;
      const Result<> done = co_await shop.api->Handle(head, body, out);
      PTG_CHECK(done.has_value());
    }
    co_return {};
  };
  for (auto _ : state) PTG_CHECK(shop.f.loop.RunUntilDone(batch()).has_value());
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kBatch));
}
BENCHMARK(BM_Verify)->Unit(benchmark::kMillisecond);

// The same over HTTP on kept connections. The client has a thread of its own: what is measured is
// the CPU time of this one.
void BM_VerifyHttp(benchmark::State& state) {
  Shop shop;
  net::Server server(shop.f.loop, net::ServerLimits{},
                     [&](net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out) {
                       return shop.api->Handle(head, body, out);
                     });
  PTG_CHECK(server.Listen("127.0.0.1:0").has_value());
  const net::Url url = *net::ParseUrl("http://127.0.0.1:" + std::to_string(server.port()) + "/");
  Loop theirs;
  net::Client client(theirs);
  const auto one = [&]() -> Task<> {
    for (size_t i = 0; i < kBatch / kOutstanding; ++i) {
      net::RequestHead head = Shop::Head();
      const Deadline by = Deadline::In(Clock::System(), Millis(60'000));
      std::string body = shop.Next();
      Result<net::Client::Whole> whole =
          co_await client.Fetch(url, std::move(head), std::move(body), 1 << 20, by);
      PTG_CHECK(whole && whole->head.status == 200);
    }
    co_return {};
  };
  for (auto _ : state) {
    Event done;
    std::thread caller([&] {
      const auto all = [&]() -> Task<> {
        Event ended;
        size_t left = kOutstanding;
        const auto count = [&]() -> Task<> {
          const Result<> paid = co_await one();
          PTG_CHECK(paid.has_value());
          if (--left == 0) ended.Set();
          co_return {};
        };
        for (size_t i = 0; i < kOutstanding; ++i) theirs.Spawn(count(), "verify");
        co_return co_await ended.Wait(Deadline::Never());
      };
      PTG_CHECK(theirs.RunUntilDone(all()).has_value());
      shop.f.loop.Post([&] { done.Set(); });
    });
    PTG_CHECK(shop.f.loop.RunUntilDone(done.Wait(Deadline::Never())).has_value());
    caller.join();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kBatch));
}
BENCHMARK(BM_VerifyHttp)->Unit(benchmark::kMillisecond);

// What the two are measured in.
void BM_Recovery(benchmark::State& state) {
  const crypto::Hash32 digest = crypto::Keccak256(codec::Bytes(32, 1));
  const crypto::Signature65 signature = SettleFixture::Key(1).SignRecoverable(digest);
  for (auto _ : state) benchmark::DoNotOptimize(crypto::Recover(digest, signature));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Recovery);

}  // namespace
}  // namespace pontage::facilitator
