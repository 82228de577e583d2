#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "chain/evm_calls.h"
#include "settle/outgoing_store.h"
#include "settle/reorg_store.h"
#include "settle/submitter.h"
#include "testing/expect.h"
#include "testing/settle_fixture.h"

// What becomes of a transaction that no block takes: higher fees, another nonce, a filled gap.
namespace pontage::settle {
namespace {

using testing::FailsWith;
using testing::IsOk;
using testing::SettleFixture;

class ReplaceTest : public ::testing::TestWithParam<testing::EngineKind> {
 protected:
  ReplaceTest() { f.fake.instant = false; }

  // A job that moves one unit by an authorization of that nonce, good for `valid`.
  Submitter::Job Job(uint8_t nonce, Millis valid = Millis(300'000)) const {
    chain::TransferAuthorization auth;
    auth.from = f.payer.address();
    auth.to = SettleFixture::Key(3).address();
    auth.value = codec::Uint256(1);
    const UnixMs before = Clock::System().Now() + valid;
    auth.valid_before = codec::Uint256(static_cast<uint64_t>(before.seconds()));
    auth.nonce[31] = nonce;
    Submitter::Job job;
    job.key = "key-" + std::to_string(nonce);
    job.to = f.usdc.address;
    job.data = chain::CallTransferWithAuthorization(auth, crypto::Signature65{});
    job.gas = 90'000;
    return job;
  }
  static SubmitterOptions Impatient() {
    SubmitterOptions options;
    options.raise = Millis(300);
    options.rebroadcast = Millis(200);
    options.adopt = Millis(500);
    return options;
  }
  struct Call {
    bool ended = false;
    std::optional<Submitter::Sent> sent;
  };
  Task<> Wait(Call& call, Submitter::Job job, Millis within) {
    Result<Submitter::Sent> sent =
        co_await f.submitter->Submit(std::move(job), SettleFixture::In(within));
    call.ended = true;
    if (sent) call.sent = *std::move(sent);
    co_return {};
  }
  void Submit(Call& call, Submitter::Job job, Millis within = Millis(8'000)) {
    f.loop.Spawn(Wait(call, std::move(job), within), "submit");
  }
  template <typename F>
  bool Until(const F& what, int tries = 100) {
    for (int i = 0; i < tries && !what(); ++i) f.Wait(Millis(50));
    return what();
  }
  std::vector<Attempt> Attempts(const std::string& key) {
    const auto read = [&key](db::Tx& tx) { return ReadAttempts(tx, key); };
    return f.database->ReadNow(read).value_or(std::vector<Attempt>());
  }

  SettleFixture f{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Engines, ReplaceTest, ::testing::ValuesIn(testing::EnginesHere()),
                         testing::EngineName);

TEST_P(ReplaceTest, WhatPaysTooLittleGetsHigherFeesAtTheSameNonce) {
  f.StartNode(Impatient());
  f.fake.least_fee = codec::Uint256(2'500);  // a first version offers 2,010
  Call call;
  Submit(call, Job(1));
  ASSERT_TRUE(Until([&] { return f.fake.pool_size() == 1; }));
  f.fake.Mine();
  ASSERT_TRUE(Until([&] {
    f.fake.Mine();
    return call.ended;
  }));
  ASSERT_TRUE(call.sent && call.sent->receipt);
  EXPECT_TRUE(call.sent->receipt->ok);
  EXPECT_EQ(call.sent->hash, call.sent->receipt->hash) << "the hash is that of the mined version";
  EXPECT_EQ(f.fake.transfers, 1U);
  const std::vector<Attempt> attempts = Attempts("key-1");
  ASSERT_EQ(attempts.size(), 1U);
  EXPECT_EQ(attempts[0].hash, codec::Hex0x(call.sent->hash));
  EXPECT_EQ(attempts[0].state, "mined");
}

// The base fee goes up under transactions that wait; the whole queue of them follows it.
TEST_P(ReplaceTest, AWholeQueueFollowsTheMarket) {
  f.StartNode(Impatient());
  std::vector<Call> calls(5);
  for (uint8_t n = 0; n < 5; ++n) Submit(calls[n], Job(n));
  ASSERT_TRUE(Until([&] { return f.fake.pool_size() == 5; }));
  f.fake.base_fee = codec::Uint256(9'000);
  f.fake.least_fee = codec::Uint256(9'000);
  EXPECT_TRUE(Until(
      [&] {
        f.fake.Mine();
        return f.fake.transfers == 5;
      },
      200));
  EXPECT_TRUE(Until([&] { return std::ranges::all_of(calls, &Call::ended); }));
}

TEST_P(ReplaceTest, NoVersionIsAboveTheCap) {
  SubmitterOptions options = Impatient();
  options.max_fee_per_gas = codec::Uint256(2'300);
  f.StartNode(options);
  f.fake.least_fee = codec::Uint256(1'000'000);
  Call call;
  Submit(call, Job(1), Millis(2'500));
  ASSERT_TRUE(Until([&] { return call.ended; }));
  EXPECT_EQ(call.sent->receipt, nullptr);
  for (const codec::Uint256& fee : f.fake.FeesInPool()) EXPECT_LE(fee, codec::Uint256(2'300));
}

// An earlier version may be mined though a later one was sent.
TEST_P(ReplaceTest, AnyVersionMayBeTheMinedOne) {
  f.StartNode(Impatient());
  Call call;
  Submit(call, Job(1));
  ASSERT_TRUE(Until([&] { return f.fake.pool_size() == 1; }));
  const auto first = f.fake.TakeFromPool();
  ASSERT_TRUE(first.has_value());
  f.fake.GoDeaf(true);  // no node hears of the later versions
  f.Wait(Millis(900));
  f.fake.GoDeaf(false);
  f.fake.MineThis(*first);
  ASSERT_TRUE(Until([&] { return call.ended; }));
  ASSERT_TRUE(call.sent && call.sent->receipt);
  EXPECT_EQ(call.sent->hash, first->hash);
}

// The node dies with two versions signed; the next one watches both.
TEST_P(ReplaceTest, AfterARestartEveryVersionIsFound) {
  f.StartNode(Impatient());
  Call call;
  Submit(call, Job(1), Millis(1'200));
  ASSERT_TRUE(Until([&] { return f.fake.pool_size() == 1; }));
  const auto first = f.fake.TakeFromPool();
  f.fake.GoDeaf(true);
  ASSERT_TRUE(Until([&] { return call.ended; }));
  ASSERT_TRUE(call.sent.has_value());
  f.StartNode();
  f.fake.MineThis(*first);
  const auto seen =
      f.loop.RunUntilDone(f.signers->Await(call.sent->hash, SettleFixture::In(Millis(5'000))));
  ASSERT_THAT(seen, IsOk());
  ASSERT_NE(seen->receipt, nullptr);
  EXPECT_EQ(seen->hash, first->hash);
}

// What no node takes while its payment runs out would stop every later nonce.
TEST_P(ReplaceTest, ANonceWhosePaymentRanOutIsUsedForNothing) {
  f.StartNode(Impatient());
  f.fake.refuse_calls_to = f.usdc.address;
  Call lost;
  Submit(lost, Job(1, Millis(3'000)), Millis(800));
  Call next;
  ASSERT_TRUE(Until([&] { return lost.ended; }));
  EXPECT_EQ(f.fake.pool_size(), 0U);
  // Not before the chain's own clock says so: ours may be wrong.
  f.fake.now_s = Clock::System().Now().seconds() + 100;
  ASSERT_TRUE(Until([&] { return f.fake.pool_size() == 1; })) << "a transfer of nothing";
  f.fake.Mine();
  f.fake.refuse_calls_to.reset();
  EXPECT_EQ(f.fake.transfers, 0U);
  Submit(next, Job(2));
  ASSERT_TRUE(Until([&] { return f.fake.pool_size() == 1; }));
  f.fake.Mine();
  ASSERT_TRUE(Until([&] { return next.ended; }));
  ASSERT_TRUE(next.sent && next.sent->receipt);
  EXPECT_EQ(f.fake.transfers, 1U);
}

// A reorganisation throws out what was mined, or the database forgot a nonce.
TEST_P(ReplaceTest, AGapInTheNoncesIsFilled) {
  f.StartNode(Impatient());
  Call first;
  Submit(first, Job(1));
  ASSERT_TRUE(Until([&] { return f.fake.pool_size() == 1; }));
  f.fake.Mine();
  ASSERT_TRUE(Until([&] { return first.ended; }));
  f.fake.UndoLast(f.signer.address());
  // And one nonce that nothing was ever signed with.
  const db::Statement skip{"test.skip", "UPDATE signer_nonce SET next_nonce = next_nonce + 1"};
  const auto forget = [&skip](db::Tx& tx) { return tx.Run(skip); };
  ASSERT_THAT(f.database->WriteNow(forget), IsOk());
  Call later;
  Submit(later, Job(2));
  EXPECT_TRUE(Until(
      [&] {
        f.fake.Mine();
        return later.ended;
      },
      200));
  ASSERT_TRUE(later.sent && later.sent->receipt);
  EXPECT_EQ(f.fake.transfers, 3U) << "the first, the first again, and the later one";
}

// The count may be older than the block that the receipts are from: nothing is amiss then.
TEST_P(ReplaceTest, AnOldCountReopensNothingThatIsInABlock) {
  f.StartNode(Impatient());
  Call first;
  Submit(first, Job(1));
  ASSERT_TRUE(Until([&] { return f.fake.pool_size() == 1; }));
  f.fake.Mine();
  ASSERT_TRUE(Until([&] { return first.ended; }));
  f.fake.counts_behind = 1;
  Call later;
  Submit(later, Job(2));
  ASSERT_TRUE(Until([&] { return f.fake.counts_asked > 2; }, 200));
  ASSERT_EQ(Attempts("key-1").size(), 1U);
  EXPECT_EQ(Attempts("key-1")[0].state, "mined");
  const auto events = [](db::Tx& tx) { return ReadChainEvents(tx, "key-1"); };
  const auto told = f.database->ReadNow(events);
  ASSERT_THAT(told, IsOk());
  EXPECT_TRUE(told->empty()) << "what is in a block was opened again";
}

TEST_P(ReplaceTest, TheGasOfAnHourIsBounded) {
  f.fake.instant = true;
  SubmitterOptions options;
  // 112,500 gas at 2,010 wei are 226,125,000 wei: one gwei, rounded up. Mined, it costs as little.
  options.gwei_per_hour = 3;
  f.StartNode(options);
  for (uint8_t n = 0; n < 3; ++n) {
    EXPECT_THAT(f.loop.RunUntilDone(f.submitter->Submit(Job(n), SettleFixture::In(Millis(3'000)))),
                IsOk());
  }
  EXPECT_THAT(f.loop.RunUntilDone(f.submitter->Submit(Job(9), SettleFixture::In(Millis(3'000)))),
              FailsWith(Code::kOverloaded));
  // A restart does not give it back.
  f.StartNode(options);
  EXPECT_THAT(f.loop.RunUntilDone(f.submitter->Submit(Job(9), SettleFixture::In(Millis(3'000)))),
              FailsWith(Code::kOverloaded));
  options.gwei_per_hour = 4;
  f.StartNode(options);
  EXPECT_THAT(f.loop.RunUntilDone(f.submitter->Submit(Job(9), SettleFixture::In(Millis(3'000)))),
              IsOk());
}

}  // namespace
}  // namespace pontage::settle
