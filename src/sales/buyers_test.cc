#include "sales/buyers.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "base/log.h"
#include "codec/json.h"
#include "testing/engines.h"
#include "testing/expect.h"
#include "testing/stripe_peer.h"

namespace pontage::sales {
namespace {

using codec::Json;
using pontage::testing::FailsWith;
using pontage::testing::IsOk;

class BuyersTest : public ::testing::TestWithParam<pontage::testing::EngineKind> {
 protected:
  BuyersTest() : engine_(GetParam()), database_(engine_.OpenMigrated()) {
    SetLogLevel(LogLevel::kError);  // questions that fail are many here
    stripe_ = *StripeClient::Make(pontage::testing::OptionsFor(peer_), Clock::System(), rng_);
    peer_.kind = "customer";
    peer_.lists["/v1/customers"] = {};
  }
  ~BuyersTest() override { SetLogLevel(LogLevel::kInfo); }

  Result<stripe::CustomerId> Ask(std::string email = "ann@example.com") {
    Buyers buyers(*stripe_, *database_, Clock::System());
    const Deadline by = Deadline::In(Clock::System(), Millis(5'000));
    return loop_.RunUntilDone(buyers.CustomerOf(std::move(email), by));
  }
  std::string Of(std::string email = "ann@example.com") {
    const auto customer = Ask(std::move(email));
    EXPECT_THAT(customer, IsOk());
    return customer ? customer->str() : "";
  }
  // What Stripe has of a customer from now on.
  void There(const std::string& id, std::string email) {
    peer_.objects["/v1/customers/" + id] =
        Json::Object({{"id", id}, {"object", "customer"}, {"email", std::move(email)}});
  }
  void Deleted(const std::string& id) {
    peer_.objects["/v1/customers/" + id] =
        Json::Object({{"id", id}, {"object", "customer"}, {"deleted", true}});
  }
  std::string LastKey() const {
    const auto posts = [](const auto& call) { return call.method == "POST"; };
    const auto at = std::ranges::find_if(peer_.calls.rbegin(), peer_.calls.rend(), posts);
    return at == peer_.calls.rend() ? "" : at->key;
  }

  Loop loop_;
  pontage::testing::StripePeer peer_{loop_};
  SeededRng rng_{3};
  pontage::testing::Engine engine_;
  std::unique_ptr<db::Database> database_;
  std::unique_ptr<StripeClient> stripe_;
};

TEST_P(BuyersTest, AnAddressIsOneCustomerWhileStripeHasHimUnderIt) {
  const std::string first = Of();
  There(first, "Ann@Example.com");
  EXPECT_EQ(Of(), first);
  EXPECT_EQ(Of(), first);
  EXPECT_EQ(peer_.made, 1U);
  EXPECT_NE(Of("bob@example.com"), first);
}

TEST_P(BuyersTest, WhoIsDeletedAtStripeIsMadeAnewUnderAnotherKey) {
  const std::string first = Of();
  const std::string key = LastKey();
  Deleted(first);
  const std::string second = Of();
  EXPECT_NE(second, first);
  EXPECT_NE(LastKey(), key) << "Stripe would give the deleted one again";
  There(second, "ann@example.com");
  EXPECT_EQ(Of(), second) << "and is remembered";
  // As often as it happens; also where Stripe has never heard of him: another account's key.
  peer_.objects.erase("/v1/customers/" + second);
  const std::string third = Of();
  EXPECT_NE(third, second);
  EXPECT_EQ(peer_.made, 3U);
}

TEST_P(BuyersTest, WhatAnAddressBuysIsNotSoldToACustomerWhoHasMovedToAnother) {
  const std::string first = Of();
  There(first, "mallory@evil.example");
  const std::string second = Of();
  EXPECT_NE(second, first);
  // Without an address he would be asked for one at Stripe.
  There(second, "");
  EXPECT_NE(Of(), second);
}

TEST_P(BuyersTest, OneThatStripeHasUnderTheAddressIsTakenBeforeAnotherIsMade) {
  const auto customer = [](std::string id, std::string email) {
    return Json::Object({{"id", std::move(id)}, {"object", "customer"}, {"email", email}});
  };
  peer_.lists["/v1/customers"] = {customer("cus_other", "bob@example.com"),
                                  customer("cus_ann", "ann@example.com")};
  EXPECT_EQ(Of(), "cus_ann");
  EXPECT_EQ(peer_.made, 0U);
}

TEST_P(BuyersTest, TwoWhoReplaceTheSameCustomerMakeOne) {
  const std::string first = Of();
  Deleted(first);
  Buyers buyers(*stripe_, *database_, Clock::System());
  const Deadline by = Deadline::In(Clock::System(), Millis(5'000));
  // Whether both find him gone before either has written down another, or one is late and finds
  // the other's: mostly the first, as Stripe takes its time.
  There("made_2", "ann@example.com");
  peer_.faults = {{.late = Millis(50)}, {.late = Millis(50)}};
  const auto both = [&]() -> Task<std::string> {
    Result<stripe::CustomerId> other = Fail(Code::kInternal, "not asked");
    const auto ask = [&]() -> Task<> {
      std::string email = "ann@example.com";
      other = co_await buyers.CustomerOf(std::move(email), by);
      co_return {};
    };
    Loop::Current()->Spawn(ask(), "test.other");
    std::string email = "ann@example.com";
    PTG_CO_TRY(const stripe::CustomerId mine, co_await buyers.CustomerOf(std::move(email), by));
    while (!other && other.error().code() == Code::kInternal) PTG_CO_RUN(co_await Sleep(Millis(5)));
    PTG_CO_TRY(const stripe::CustomerId theirs, other);
    co_return mine == theirs ? mine.str() : mine.str() + " and " + theirs.str();
  };
  const Result<std::string> one = loop_.RunUntilDone(both());
  EXPECT_THAT(one, IsOk());
  EXPECT_EQ(one.value_or(""), "made_2");
  EXPECT_EQ(peer_.made, 2U);
}

TEST_P(BuyersTest, WhileStripeDoesNotAnswerNobodyIsReplaced) {
  const std::string first = Of();
  There(first, "ann@example.com");
  peer_.faults = {{.status = 500}, {.status = 500}, {.status = 500}};
  EXPECT_THAT(Ask(), FailsWith(Code::kUpstreamUnreachable));
  EXPECT_EQ(Of(), first);
  EXPECT_EQ(peer_.made, 1U);
}

INSTANTIATE_TEST_SUITE_P(Engines, BuyersTest, ::testing::ValuesIn(pontage::testing::EnginesHere()),
                         pontage::testing::EngineName);

}  // namespace
}  // namespace pontage::sales
