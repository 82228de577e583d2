#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/try.h"
#include "io/timer.h"
#include "paywall/exchange.h"
#include "paywall/sweeper.h"
#include "testing/engines.h"
#include "testing/expect.h"
#include "testing/fake_sale.h"

namespace pontage::testing {

// A small language: Buy("nonce") is one request with that payment, Sweep() one pass of the sweeper.
class ExchangeFixture : public ::testing::Test {
 protected:
  ExchangeFixture() : engine_(EngineKind::kSqlite) {
    database_ = engine_.OpenMigrated();
    ledger_ = std::make_unique<ledger::Ledger>(*database_, "node_a", clock_, rng_);
    auto rail = std::make_unique<FakeRail>(clock_);
    rail_ = rail.get();
    std::vector<std::unique_ptr<rail::Rail>> list;
    list.push_back(std::move(rail));
    rails_ = std::make_shared<const rail::RailSet>(std::move(list));
    route_.match = "GET /goods";
    route_.price = Money::Micros(1000);
    EXPECT_THAT(loop_.RunUntilDone(ledger_->Heartbeat(Deadline::Never())), IsOk());
  }

  struct Sale {
    RecordingWriter out;
    int status = 0;
    std::string Field(std::string_view name) const {
      return std::string(out.head.headers.Get(name).value_or(""));
    }
  };

  std::unique_ptr<Sale> Buy(std::string payment, std::string resource = "/goods",
                            std::optional<size_t> breaks_after = std::nullopt) {
    auto sale = std::make_unique<Sale>();
    sale->out.breaks_after = breaks_after;
    const auto task = [](ExchangeFixture& t, Sale& s, std::string p, std::string r) -> Task<> {
      net::RequestHead head;
      head.method = "GET";
      head.target = r;
      if (!p.empty()) head.headers.Add("PAY", p);
      for (const auto& [name, value] : t.fields_) head.headers.Add(name, value);
      net::StringBody empty("");
      net::BodySource& body = t.request_ == nullptr ? empty : *t.request_;
      const RequestId id(NewIdText("req", t.clock_, t.rng_));
      paywall::Reply reply(s.out, id, head);
      deal::Quote quote;
      quote.route_name = t.route_.match;
      quote.price = t.route_.price;
      quote.method = "GET";
      quote.resource = r;
      quote.target = t.target_.empty() ? r : t.target_;
      quote.resource_url = "https://shop.example" + r;
      paywall::Exchange exchange(*t.ledger_, t.metrics_, t.clock_, t.rng_);
      paywall::Call call{t.route_, quote, *t.rails_, head, body, t.work_, reply};
      PTG_CO_RUN(co_await exchange.Run(std::move(call)));
      s.status = s.out.head.status;
      // Notes are written behind the answer; the next step of a test wants them there.
      co_return co_await Sleep(Millis(30));
    };
    EXPECT_THAT(loop_.RunUntilDone(task(*this, *sale, std::move(payment), std::move(resource))),
                IsOk());
    return sale;
  }

  size_t Sweep() {
    paywall::Sweeper sweeper(*ledger_, [this] { return rails_; }, metrics_, clock_);
    return loop_.RunUntilDone(sweeper.Sweep()).value_or(0);
  }

  ledger::Reservation Row(const std::string& payment) {
    const auto key = crypto::Sha256(codec::AsBytes(payment));
    auto row = loop_.RunUntilDone(ledger_->FindByKey(key, Deadline::Never()));
    EXPECT_TRUE(row.has_value() && row->has_value()) << payment;
    return row && *row ? **row : ledger::Reservation{};
  }

  // Work under way for that payment, when its process dies: reserved and nothing more.
  ledger::Reservation Reserve(const std::string& payment, Millis valid_for = Millis(300'000)) {
    ledger::Reservation row;
    row.id = ReservationId("pay_" + payment);
    row.once_key = crypto::Sha256(codec::AsBytes(payment));
    row.method = "GET";
    row.resource = "/goods";
    const net::Headers no_fields;
    row.request_digest = paywall::RequestDigest("GET", "/goods", no_fields, {.whole = true});
    row.rail = "fake";
    row.payload = R"({"payload":{"nonce":")" + payment + R"(","signature":")" + payment + R"("}})";
    row.requirement = "{}";
    row.valid_before = clock_.Now() + valid_for;
    EXPECT_THAT(loop_.RunUntilDone(ledger_->Reserve(row, Deadline::Never())), IsOk());
    return row;
  }

  // What a crash leaves: the process is another one, and nobody else lives.
  void Restart() {
    ledger_ = std::make_unique<ledger::Ledger>(*database_, "node_" + std::to_string(++restarts_),
                                               clock_, rng_);
    EXPECT_THAT(loop_.RunUntilDone(ledger_->Heartbeat(Deadline::Never())), IsOk());
    EXPECT_THAT(
        loop_.RunUntilDone(ledger_->ForgetOtherNodes(clock_.Now() + Millis(1), Deadline::Never())),
        IsOk());
  }

  const Clock& clock_ = Clock::System();
  SeededRng rng_{1};
  Loop loop_;
  Engine engine_;
  std::unique_ptr<db::Database> database_;
  std::unique_ptr<ledger::Ledger> ledger_;
  obs::Registry metrics_;
  int restarts_ = 0;
  FakeRail* rail_ = nullptr;
  std::shared_ptr<const rail::RailSet> rails_;
  FakeWork work_;
  catalog::Route route_;
  paywall::HeaderList fields_;          // of the requests to come
  std::string target_;                  // where they go, if elsewhere than their resource
  net::BodySource* request_ = nullptr;  // the body of the next one
};

// A request's body of so many bytes that then breaks off, or ends.
class LongBody final : public net::BodySource {
 public:
  LongBody(size_t bytes, bool breaks) : left_(bytes), breaks_(breaks) {}
  Task<std::string_view> Read(Deadline) override {
    if (left_ == 0 && breaks_) co_return Fail(Code::kBadRequest, "no chunk");
    piece_ = std::string(std::min<size_t>(left_, 64 * 1024), 'x');
    left_ -= piece_.size();
    co_return std::string_view(piece_);
  }
  std::optional<uint64_t> length() const override { return std::nullopt; }
  bool empty() const override { return false; }
  const net::Headers& trailers() const override { return none_; }

 private:
  size_t left_;
  bool breaks_;
  std::string piece_;
  net::Headers none_;
};

}  // namespace pontage::testing
