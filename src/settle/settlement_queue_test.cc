#include "settle/settlement_queue.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "chain/evm_calls.h"
#include "codec/abi.h"
#include "testing/expect.h"

namespace pontage::settle {
namespace {

using Groups = std::vector<std::vector<size_t>>;
using testing::IsOk;

struct Queue {
  std::vector<SettleJob> jobs;
  Queue& Add(std::string key, uint64_t gas = 80'000, bool alone = false) {
    SettleJob& job = jobs.emplace_back();
    job.key = std::move(key);
    job.to.bytes[19] = 7;
    job.data = {1, 2, 3};
    job.gas = gas;
    job.alone = alone;
    return *this;
  }
  Queue& Add(size_t count) {
    for (size_t i = 0; i < count; ++i) Add("key-" + std::to_string(jobs.size()));
    return *this;
  }
  std::vector<const SettleJob*> Pointers() const {
    std::vector<const SettleJob*> pointers;
    for (const SettleJob& job : jobs) pointers.push_back(&job);
    return pointers;
  }
  Groups Plan(QueueLimits limits = {}, size_t in_flight = 0) const {
    return PlanGroups(Pointers(), limits, in_flight);
  }
};

std::vector<size_t> Sizes(const Groups& groups) {
  std::vector<size_t> sizes;
  for (const std::vector<size_t>& group : groups) sizes.push_back(group.size());
  return sizes;
}

TEST(SettlementQueue, WhenAQueueWaitsForMore) {
  const QueueLimits usual;
  const QueueLimits no_batches{.batch = 1};
  const struct {
    const char* name;
    Queue queue;
    QueueLimits limits;
    size_t in_flight;
    Millis waited;
    bool want;
  } cases[] = {
      {"nothing waits", {}, usual, 1, Millis(0), false},
      {"alone on an idle key", Queue().Add(1), usual, 0, Millis(0), false},
      {"many on an idle key", Queue().Add(20), usual, 0, Millis(0), false},
      {"behind a transaction", Queue().Add(1), usual, 1, Millis(0), true},
      {"just before its time", Queue().Add(3), usual, 2, usual.gather - Millis(1), true},
      {"long enough", Queue().Add(3), usual, 2, usual.gather, false},
      {"one short of a batch", Queue().Add(49), usual, 1, Millis(0), true},
      {"a full batch", Queue().Add(50), usual, 1, Millis(0), false},
      {"no batches there", Queue().Add(3), no_batches, 1, Millis(0), false},
      {"one goes alone anyway", Queue().Add(2).Add("w", 80'000, true), usual, 1, Millis(0), false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(WaitForMore(c.queue.Pointers(), c.limits, c.in_flight, c.waited), c.want);
  }
}

TEST(SettlementQueue, WhichPaymentsShareATransaction) {
  const QueueLimits one_left{.in_flight = 2};
  const QueueLimits no_batches{.batch = 1, .in_flight_alone = 3};
  const QueueLimits threes{.batch = 3};
  const struct {
    const char* name;
    Queue queue;
    QueueLimits limits;
    size_t in_flight;
    Groups want;
  } cases[] = {
      {"nothing waits", {}, {}, 0, {}},
      {"a lone payment goes alone", Queue().Add(1), {}, 0, {{0}}},
      {"a lone payment goes though others are in flight", Queue().Add(1), {}, 15, {{0}}},
      {"two go together", Queue().Add(2), {}, 0, {{0, 1}}},
      {"what is full is not added to", Queue().Add(7), threes, 0, {{0, 1, 2}, {3, 4, 5}, {6}}},
      {"no room", Queue().Add(3), {}, 16, {}},
      {"more in flight than may be", Queue().Add(3), {}, 40, {}},
      {"room for one: a full one, the rest waits",
       Queue().Add(5),
       {.batch = 3, .in_flight = 2},
       1,
       {{0, 1, 2}}},
      {"one that must be alone",
       Queue().Add("a").Add("b", 80'000, true).Add("c"),
       {},
       0,
       {{0, 2}, {1}}},
      {"one that must be alone does not take the last room of others",
       Queue().Add("a").Add("b", 80'000, true).Add("c"),
       one_left,
       1,
       {{0, 2}}},
      {"alone and first in the last room",
       Queue().Add("a", 80'000, true).Add("b"),
       one_left,
       1,
       {{0}}},
      {"one key is not twice in a round", Queue().Add("a").Add("a").Add("b"), {}, 0, {{0, 2}}},
      {"without batches each has its own", Queue().Add(2), no_batches, 0, {{0}, {1}}},
      {"without batches there is a bound too", Queue().Add(5), no_batches, 1, {{0}, {1}}},
      // 40,000 of its own; 1,000,000 and a quarter each, less what they share.
      {"bounded by gas",
       Queue().Add("a", 1'000'000).Add("b", 1'000'000).Add("c", 1'000'000),
       {.batch_gas = 2'510'000},
       0,
       {{0, 1}, {2}}},
      {"one that is beyond the gas of a batch goes alone",
       Queue().Add("a", 9'000'000).Add("b"),
       {},
       0,
       {{0}, {1}}},
  };
  for (const auto& c : cases) EXPECT_EQ(c.queue.Plan(c.limits, c.in_flight), c.want) << c.name;
}

TEST(SettlementQueue, TwoHundredAreFourTransactions) {
  EXPECT_EQ(Sizes(Queue().Add(200).Plan()), (std::vector<size_t>{50, 50, 50, 50}));
}

TEST(SettlementQueue, OneIsTheCallItselfAndManyAreAggregate3) {
  const Queue queue = Queue().Add("a", 80'000).Add("b", 100'000);
  const std::vector<const SettleJob*> both = queue.Pointers();
  const chain::EvmTransaction one = CallFor(std::vector{both[0]}, 500'000);
  EXPECT_EQ(one.to, both[0]->to);
  EXPECT_EQ(one.data, both[0]->data);
  EXPECT_EQ(one.gas_limit, 100'000U);
  EXPECT_EQ(CallFor(std::vector{both[0]}, 90'000).gas_limit, 90'000U);
  const chain::EvmTransaction two = CallFor(both, 500'000);
  EXPECT_EQ(two.to, chain::Multicall3Address());
  EXPECT_EQ(two.gas_limit, 40'000U + 100'000 - 15'000 + 125'000 - 15'000);
  const auto calls = chain::ReadAggregate3(two.data);
  ASSERT_THAT(calls, IsOk());
  ASSERT_EQ(calls->size(), 2U);
  for (const chain::Call& call : *calls) {
    EXPECT_EQ(call.target, both[0]->to);
    EXPECT_EQ(call.data, both[0]->data);
    EXPECT_TRUE(call.allow_failure);
  }
}

TEST(SettlementQueue, ASimulationTellsWhichFail) {
  std::vector<codec::Bytes> rows;
  for (const bool good : {true, false, true}) {
    rows.push_back(codec::AbiEncoder().Bool(good).Dynamic({}).Finish());
  }
  chain::CallResult answer{.success = true,
                           .data = codec::AbiEncoder().DynamicArray(rows).Finish()};
  EXPECT_EQ(Simulated(answer, 3), (std::vector{true, false, true}));
  EXPECT_EQ(Simulated(answer, 2), (std::vector{false, false})) << "not one row for each";
  answer.success = false;
  EXPECT_EQ(Simulated(answer, 3), (std::vector{false, false, false}));
  EXPECT_EQ(Simulated({.success = true, .data = {1}}, 2), (std::vector{false, false}));
  // One alone is the call itself: it went through, or it did not.
  EXPECT_EQ(Simulated({.success = true, .data = {}}, 1), (std::vector{true}));
  EXPECT_EQ(Simulated({.success = false, .data = {1}}, 1), (std::vector{false}));
}

SettleJob PaidBy(uint8_t payer, uint64_t value, uint64_t balance) {
  SettleJob job;
  job.payer.bytes[0] = payer;
  job.value = codec::Uint256(value);
  job.balance = codec::Uint256(balance);
  return job;
}

TEST(Affordable, WhatItsPayerWasNotSeenToHaveForAllOfThemWaits) {
  const struct {
    const char* name;
    std::vector<SettleJob> queue;
    uint64_t under_way;  // of payer 1
    std::vector<size_t> want;
  } cases[] = {
      {"nobody", {}, 0, {}},
      {"enough for both", {PaidBy(1, 5, 10), PaidBy(1, 5, 10)}, 0, {0, 1}},
      {"enough for one", {PaidBy(1, 6, 10), PaidBy(1, 6, 10), PaidBy(2, 6, 10)}, 0, {0, 2}},
      {"the first goes whatever was seen", {PaidBy(1, 6, 0), PaidBy(1, 6, 0)}, 0, {0}},
      {"beside what is under way", {PaidBy(1, 6, 11), PaidBy(1, 5, 11)}, 6, {1}},
      {"nothing is left", {PaidBy(1, 1, 6)}, 6, {}},
  };
  for (const auto& c : cases) {
    std::vector<const SettleJob*> queue;
    for (const SettleJob& job : c.queue) queue.push_back(&job);
    std::map<Purse, codec::Uint256> under_way;
    if (c.under_way > 0) under_way[PurseOf(PaidBy(1, 0, 0))] = codec::Uint256(c.under_way);
    EXPECT_EQ(Affordable(queue, std::move(under_way)), c.want) << c.name;
  }
  // Another asset is another purse.
  SettleJob other = PaidBy(1, 6, 10);
  other.to.bytes[0] = 9;
  const SettleJob first = PaidBy(1, 6, 10);
  const SettleJob* both[] = {&first, &other};
  EXPECT_EQ(Affordable(both, {}), (std::vector<size_t>{0, 1}));
}

}  // namespace
}  // namespace pontage::settle
