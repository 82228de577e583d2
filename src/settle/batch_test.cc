#include <deque>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "settle/outgoing_store.h"
#include "testing/expect.h"
#include "testing/settle_fixture.h"

// Payments that share a transaction, from the facilitator down to a chain: each keeps its own
// proof, its own end and its own history.
namespace pontage::settle {
namespace {

using Outcome = Facilitator::Outcome;
using testing::SettleFixture;
using Sale = SettleFixture::Sale;

class BatchTest : public ::testing::TestWithParam<testing::EngineKind> {
 protected:
  BatchTest() {
    f.fake.multicall = true;
    f.fake.instant = false;
    f.StartNode();
  }

  // Settles sales of these nonces at once; `done` has an entry for each that has an answer.
  struct Run {
    std::deque<Sale> sales;  // which stay where they are
    std::vector<std::optional<Facilitator::Settlement>> done;
    std::vector<std::optional<Error>> errors;
    size_t ended = 0;
  };
  Task<> One(Run& run, size_t i, Millis within) {
    Result<Facilitator::Settlement> s = co_await f.facilitator->Settle(
        run.sales[i].payment, run.sales[i].requirements, SettleFixture::In(within));
    ++run.ended;
    if (s) {
      run.done[i] = *std::move(s);
    } else {
      run.errors[i] = s.error();
    }
    co_return {};
  }
  void Begin(Run& run, uint8_t first, uint8_t count, Millis within = Millis(8'000)) {
    for (uint8_t n = 0; n < count; ++n) {
      run.sales.push_back(f.Make(static_cast<uint8_t>(first + n)));
    }
    const size_t from = run.done.size();
    run.done.resize(run.sales.size());
    run.errors.resize(run.sales.size());
    for (size_t i = from; i < run.sales.size(); ++i) f.loop.Spawn(One(run, i, within), "settle");
  }
  // Until `n` transactions wait in the pool and nothing new comes.
  void PoolOf(size_t n) {
    for (int i = 0; i < 60 && f.fake.pool_size() < n; ++i) f.Wait(Millis(50));
    f.Wait(Millis(100));
    EXPECT_EQ(f.fake.pool_size(), n);
  }
  void End(const Run& run) {
    for (int i = 0; i < 100 && run.ended < run.sales.size(); ++i) f.Wait(Millis(50));
    ASSERT_EQ(run.ended, run.sales.size());
    f.Written();
  }
  static size_t Settled(const Run& run) {
    size_t count = 0;
    for (const auto& s : run.done) count += s && s->outcome == Outcome::kSettled ? 1 : 0;
    return count;
  }
  std::vector<Attempt> Attempts(const Sale& sale) {
    const std::string key = codec::ToHex(scheme::OnceKey(chain::ChainId::Evm(84532), f.usdc.address,
                                                         f.payer.address(), sale.auth.nonce));
    const auto read = [&key](db::Tx& tx) { return ReadAttempts(tx, key); };
    return f.database->ReadNow(read).value_or(std::vector<Attempt>());
  }

  SettleFixture f{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Engines, BatchTest, ::testing::ValuesIn(testing::EnginesHere()),
                         testing::EngineName);

TEST_P(BatchTest, ALonePaymentGoesAloneAndAtOnce) {
  f.fake.instant = true;
  EXPECT_EQ(f.Settle(f.Make(1))->outcome, Outcome::kSettled);
  EXPECT_EQ(f.fake.batches, 0U);
}

// However far apart they come: behind a transaction that waits for its block they wait for each
// other, until the block is there or their time has passed.
TEST_P(BatchTest, BehindATransactionThatIsNotMinedPaymentsWaitForEachOther) {
  for (const bool block : {true, false}) {
    SCOPED_TRACE(block);
    SubmitterOptions options;
    options.queue.gather = block ? Millis(3'000) : Millis(500);
    f.StartNode(options);
    Run run;
    const auto first = static_cast<uint8_t>(block ? 1 : 11);
    const size_t before = f.fake.batches;
    Begin(run, first, 1);
    PoolOf(1);
    for (uint8_t n = 1; n < 4; ++n) {
      Begin(run, static_cast<uint8_t>(first + n), 1);
      f.Wait(Millis(60));
    }
    EXPECT_EQ(f.fake.pool_size(), 1U);
    if (block) {
      f.fake.Mine();
      PoolOf(1);
    } else {
      PoolOf(2);
    }
    f.fake.Mine();
    End(run);
    EXPECT_EQ(Settled(run), 4U);
    EXPECT_EQ(f.fake.batches, before + 1);
  }
}

// Of payments that are together more than their payer has one is settled, and no gas goes into the
// others: each is good by itself until that one is mined.
TEST_P(BatchTest, MoreThanThePayerHasCostsNoGas) {
  for (const bool multicall : {true, false}) {
    SCOPED_TRACE(multicall);
    f.fake.multicall = multicall;
    f.StartNode();
    f.fake.balance[f.payer.address()] = codec::Uint256(1'500);
    const size_t transfers = f.fake.transfers;
    const auto sent = [&] {
      return f.loop
          .RunUntilDone(f.fake.TransactionCount(f.signer.address(), false, Deadline::Never()))
          .value_or(0);
    };
    const uint64_t before = sent();
    Run run;
    Begin(run, multicall ? 1 : 101, 12);
    for (int i = 0; i < 100 && run.ended < run.sales.size(); ++i) {
      f.Wait(Millis(50));
      if (i % 4 == 3) f.fake.Mine();
    }
    End(run);
    EXPECT_EQ(Settled(run), 1U);
    EXPECT_EQ(f.fake.transfers - transfers, 1U);
    EXPECT_EQ(sent() - before, 1U);
  }
}

// One payee, one payer, one amount: every payment has its own proof all the same.
TEST_P(BatchTest, AQueueIsSettledTogether) {
  Run run;
  Begin(run, 1, 40);
  for (int i = 0; i < 60 && f.fake.pool_size() < 1; ++i) f.Wait(Millis(50));
  f.Wait(Millis(300));
  EXPECT_LE(f.fake.pool_size(), 4U);
  for (int i = 0; i < 100 && run.ended < run.sales.size(); ++i) {
    f.fake.Mine();
    f.Wait(Millis(50));
  }
  End(run);
  EXPECT_EQ(Settled(run), 40U);
  EXPECT_EQ(f.fake.transfers, 40U);
  EXPECT_GE(f.fake.batches, 1U);
  EXPECT_EQ(f.fake.balance[SettleFixture::Key(3).address()], codec::Uint256(40'000));
  size_t together = 0;
  for (const Sale& sale : run.sales) {
    const std::vector<Attempt> attempts = Attempts(sale);
    ASSERT_EQ(attempts.size(), 1U);
    EXPECT_EQ(attempts[0].state, "mined");
    together = std::max(together, attempts[0].payments);
  }
  EXPECT_GE(together, 10U);
}

TEST_P(BatchTest, AMemberThatFailsInTheBlockIsTriedAloneAndTheOthersAreSettled) {
  Run run;
  for (const uint8_t nonce : {uint8_t{5}, uint8_t{6}}) {
    f.fake.fails_in_batch.insert(f.Make(nonce).auth.nonce);
  }
  // One that is not among them goes alone, the others behind it together.
  Begin(run, 1, 1);
  PoolOf(1);
  Begin(run, 2, 11);
  for (int i = 0; i < 60 && f.fake.pool_size() < 2; ++i) f.Wait(Millis(50));
  f.Wait(Millis(200));
  f.fake.Mine();
  for (int i = 0; i < 60 && f.fake.pool_size() < 2; ++i) f.Wait(Millis(50));
  EXPECT_EQ(f.fake.pool_size(), 2U) << "each by itself";
  f.fake.Mine();
  End(run);
  EXPECT_EQ(Settled(run), 12U);
  EXPECT_EQ(f.fake.transfers, 12U);
  const std::vector<Attempt> attempts = Attempts(run.sales[4]);
  ASSERT_EQ(attempts.size(), 2U);
  EXPECT_GT(attempts[0].payments, 1U);
  EXPECT_EQ(attempts[1].payments, 1U);
}

TEST_P(BatchTest, AMemberThatIsNoLongerGoodIsToldSoByItself) {
  Run run;
  Begin(run, 1, 12);
  for (int i = 0; i < 60 && f.fake.pool_size() < 2; ++i) f.Wait(Millis(50));
  f.Wait(Millis(200));
  // All but three of them can be paid when the block comes.
  f.fake.balance[f.payer.address()] = codec::Uint256(9'000);
  f.fake.Mine();
  End(run);
  EXPECT_EQ(Settled(run), 9U);
  EXPECT_EQ(f.fake.transfers, 9U);
  for (size_t i = 0; i < run.done.size(); ++i) {
    const auto& s = run.done[i];
    ASSERT_TRUE(s.has_value());
    if (s->outcome == Outcome::kSettled) continue;
    EXPECT_EQ(s->outcome, Outcome::kRefused);
    // Of a batch it is judged anew; what came late may have been alone in the first place.
    const bool alone = Attempts(run.sales[i]).front().payments == 1;
    EXPECT_EQ(s->answer.reason, alone ? "invalid_exact_evm_transaction_failed"
                                      : "invalid_exact_evm_insufficient_balance");
  }
}

// Each is good by itself; together they are more than the payer has.
TEST_P(BatchTest, WhatFailsInTheSimulationIsSplitOffBeforeItIsSent) {
  f.fake.balance[f.payer.address()] = codec::Uint256(5'000);
  Run run;
  Begin(run, 1, 8);
  for (int i = 0; i < 40; ++i) {
    f.Wait(Millis(50));
    f.fake.Mine();
  }
  End(run);
  EXPECT_EQ(Settled(run), 5U);
  EXPECT_EQ(f.fake.transfers, 5U);
  for (const auto& s : run.done) {
    ASSERT_TRUE(s.has_value());
    if (s->outcome != Outcome::kSettled) EXPECT_EQ(s->outcome, Outcome::kRefused);
  }
}

TEST_P(BatchTest, ABatchThatIsRevertedIsSplit) {
  f.fake.revert_batches = true;
  Run run;
  Begin(run, 1, 10);
  for (int i = 0; i < 60 && f.fake.pool_size() < 2; ++i) f.Wait(Millis(50));
  f.Wait(Millis(200));
  f.fake.Mine();
  for (int i = 0; i < 40 && run.ended < 10; ++i) {
    f.Wait(Millis(100));
    f.fake.Mine();
  }
  End(run);
  EXPECT_EQ(Settled(run), 10U);
  EXPECT_EQ(f.fake.transfers, 10U);
  EXPECT_EQ(f.fake.batches, 0U);
}

// The node dies between storing and broadcasting; another on the same database finishes it for all.
TEST_P(BatchTest, ACrashLosesNoMemberOfABatch) {
  f.fake.GoDeaf(true);
  Run run;
  Begin(run, 1, 20, Millis(700));
  End(run);
  EXPECT_EQ(f.fake.pool_size(), 0U);
  for (const auto& s : run.done) {
    ASSERT_TRUE(s.has_value());
    EXPECT_EQ(s->outcome, Outcome::kUnknown);
    EXPECT_EQ(s->answer.transaction.size(), 66U);
  }
  f.StopNode();
  f.fake.GoDeaf(false);
  f.StartNode();
  f.Wait(Millis(300));
  EXPECT_GT(f.fake.pool_size(), 0U);
  f.fake.Mine();
  for (const Sale& sale : run.sales) EXPECT_EQ(f.Settle(sale)->outcome, Outcome::kSettled);
  EXPECT_EQ(f.fake.transfers, 20U);
}

// Two callers of one payment and a queue of others: it is in one transaction, once.
TEST_P(BatchTest, OnePaymentIsInOneBatchOnce) {
  Run run;
  Begin(run, 1, 6);
  Run again;
  Begin(again, 1, 6);
  for (int i = 0; i < 40; ++i) {
    f.Wait(Millis(50));
    f.fake.Mine();
  }
  End(run);
  End(again);
  EXPECT_EQ(Settled(run) + Settled(again), 12U);
  EXPECT_EQ(f.fake.transfers, 6U);
}

TEST_P(BatchTest, WithoutMulticall3EveryPaymentHasItsOwnTransaction) {
  f.fake.multicall = false;
  f.StartNode();
  Run run;
  Begin(run, 1, 12);
  PoolOf(12);
  f.fake.Mine();
  End(run);
  EXPECT_EQ(Settled(run), 12U);
}

}  // namespace
}  // namespace pontage::settle
