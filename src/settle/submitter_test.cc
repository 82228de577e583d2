#include "settle/submitter.h"

#include <map>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "chain/evm_calls.h"
#include "codec/hex.h"
#include "testing/expect.h"
#include "testing/settle_fixture.h"

namespace pontage::settle {
namespace {

using testing::FailsWith;
using testing::IsOk;
using testing::SettleFixture;

class SubmitterTest : public ::testing::TestWithParam<testing::EngineKind> {
 protected:
  // A job that moves one unit by an authorization of that nonce. The fake does not check
  // signatures.
  Submitter::Job Job(uint16_t nonce) const {
    chain::TransferAuthorization auth;
    auth.from = f.payer.address();
    auth.to = SettleFixture::Key(3).address();
    auth.value = codec::Uint256(1);
    auth.nonce[30] = static_cast<uint8_t>(nonce >> 8);
    auth.nonce[31] = static_cast<uint8_t>(nonce);
    Submitter::Job job;
    job.key = "key-" + std::to_string(nonce);
    job.to = f.usdc.address;
    job.data = chain::CallTransferWithAuthorization(auth, crypto::Signature65{});
    job.gas = 90'000;
    return job;
  }
  Result<Submitter::Sent> Submit(uint16_t nonce, Millis within = Millis(5'000)) {
    return f.loop.RunUntilDone(f.submitter->Submit(Job(nonce), SettleFixture::In(within)));
  }

  SettleFixture f{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Engines, SubmitterTest, ::testing::ValuesIn(testing::EnginesHere()),
                         testing::EngineName);

// A mutex around send-and-wait would need a block for each.
TEST_P(SubmitterTest, AHundredAtOnceAreMinedInOneBlock) {
  f.fake.instant = false;
  std::vector<Submitter::Sent> sent;
  const auto one = [&](uint16_t n) -> Task<> {
    PTG_CO_TRY(Submitter::Sent s,
               co_await f.submitter->Submit(Job(n), SettleFixture::In(Millis(8'000))));
    sent.push_back(std::move(s));
    co_return {};
  };
  for (uint16_t n = 0; n < 100; ++n) f.loop.Spawn(one(n), "submit");
  for (int i = 0; i < 50 && f.fake.pool_size() < 100; ++i) f.Wait(Millis(50));
  EXPECT_EQ(f.fake.pool_size(), 100U);
  f.fake.Mine();
  for (int i = 0; i < 50 && sent.size() < 100; ++i) f.Wait(Millis(50));
  ASSERT_EQ(sent.size(), 100U);
  std::set<crypto::Hash32> hashes;
  std::set<uint64_t> blocks;
  for (const Submitter::Sent& s : sent) {
    ASSERT_NE(s.receipt, nullptr);
    EXPECT_TRUE(s.receipt->ok);
    hashes.insert(s.hash);
    blocks.insert(s.receipt->block);
  }
  EXPECT_EQ(hashes.size(), 100U);
  EXPECT_EQ(blocks.size(), 1U);
  EXPECT_EQ(f.fake.transfers, 100U);
}

TEST_P(SubmitterTest, OnePaymentHasOneTransaction) {
  EXPECT_THAT(Submit(1), IsOk());
  EXPECT_THAT(Submit(1), FailsWith(Code::kConflict));
  // The refused one took no nonce with it: the next is mined at once.
  const auto next = Submit(2);
  ASSERT_THAT(next, IsOk());
  EXPECT_NE(next->receipt, nullptr);
}

TEST_P(SubmitterTest, ANonceThatAnotherProgramUsedIsHealed) {
  SubmitterOptions options;
  options.heal = Millis(300);
  f.StartNode(options);
  EXPECT_THAT(Submit(1), IsOk());
  f.fake.UseNonceElsewhere(f.signer.address());
  const auto healed = Submit(2);
  ASSERT_THAT(healed, IsOk());
  ASSERT_NE(healed->receipt, nullptr);
  EXPECT_EQ(healed->hash, healed->receipt->hash) << "the hash is that of the mined transaction";
  const auto next = Submit(3);
  ASSERT_THAT(next, IsOk());
  EXPECT_NE(next->receipt, nullptr);
}

// It was mined, and of several nodes those that are asked for its receipt are all behind.
TEST_P(SubmitterTest, WhatHasMovedIsNotSignedAgainForWantOfAReceipt) {
  SubmitterOptions options;
  options.rebroadcast = Millis(50);
  options.heal = Millis(100);
  f.StartNode(options);
  f.fake.withholds_receipts = true;
  int reverted = 0;
  f.fake.mined = [&](const chain::TransferAuthorization&, bool ok) { reverted += ok ? 0 : 1; };
  // Each wakes the submitter, which looks for the others.
  for (uint16_t n = 1; n <= 12; ++n) {
    const auto unseen = Submit(n, Millis(100));
    ASSERT_THAT(unseen, IsOk());
    EXPECT_EQ(unseen->receipt, nullptr);
  }
  EXPECT_EQ(f.fake.transfers, 12U);
  f.fake.withholds_receipts = false;
  for (int i = 0; i < 60 && f.submitter->load() > 0; ++i) f.Wait(Millis(50));
  EXPECT_EQ(f.submitter->load(), 0U) << "its receipt closed it";
  EXPECT_EQ(reverted, 0);
}

// Its nonces would begin there, and nothing it signs would ever be mined.
TEST_P(SubmitterTest, ANodeThatIsWrongAboutACountOnceMakesNoKeyUseless) {
  f.fake.counts_too_many = 1'000'000'000;
  f.StartNode();
  const auto sent = Submit(1, Millis(8'000));
  ASSERT_THAT(sent, IsOk());
  EXPECT_NE(sent->receipt, nullptr);
}

TEST_P(SubmitterTest, ATransactionThatGotLostOnTheWayIsSentAgain) {
  SubmitterOptions options;
  options.rebroadcast = Millis(300);
  f.StartNode(options);
  f.fake.DropNext();
  const auto sent = Submit(1, Millis(8'000));
  ASSERT_THAT(sent, IsOk());
  EXPECT_NE(sent->receipt, nullptr);
  EXPECT_GE(f.fake.sends, 2U);
}

// A node dies with a transaction stored; another on the same database takes it over by itself.
TEST_P(SubmitterTest, AnotherNodeAdoptsWhatADeadOneLeft) {
  SubmitterOptions options;
  options.adopt = Millis(300);
  Submitter other(f.loop, f.fake, *f.database, f.signer.Clone(), Rng::System(), options);
  other.Start();
  f.fake.DropNext();
  f.fake.instant = false;
  const auto sent = Submit(1, Millis(200));
  ASSERT_THAT(sent, IsOk());
  EXPECT_EQ(sent->receipt, nullptr);
  f.StopNode();
  for (int i = 0; i < 60 && f.fake.pool_size() == 0; ++i) f.Wait(Millis(50));
  EXPECT_EQ(f.fake.pool_size(), 1U);
  f.fake.Mine();
  Signers others({&other}, *f.database, Clock::System());
  const auto seen = f.loop.RunUntilDone(others.Await(sent->hash, SettleFixture::In(Millis(5'000))));
  ASSERT_THAT(seen, IsOk());
  EXPECT_NE(seen->receipt, nullptr);
  EXPECT_THAT(f.loop.RunUntilDone(other.Stop()), IsOk());
}

// Two nodes with one key share its nonces through the database.
TEST_P(SubmitterTest, TwoNodesNeverSignOneNonceTwice) {
  Submitter other(f.loop, f.fake, *f.database, f.signer.Clone(), Rng::System());
  other.Start();
  f.Wait(Millis(150));
  f.fake.instant = false;
  size_t done = 0;
  const auto one = [&](Submitter& by, uint16_t n) -> Task<> {
    PTG_CO_TRY(const Submitter::Sent s,
               co_await by.Submit(Job(n), SettleFixture::In(Millis(8'000))));
    done += s.receipt && s.receipt->ok ? 1 : 0;
    co_return {};
  };
  for (uint16_t n = 0; n < 40; ++n) f.loop.Spawn(one(n % 2 ? other : *f.submitter, n), "submit");
  for (int i = 0; i < 60 && f.fake.pool_size() < 40; ++i) f.Wait(Millis(50));
  EXPECT_EQ(f.fake.pool_size(), 40U);
  f.fake.Mine();
  for (int i = 0; i < 60 && done < 40; ++i) f.Wait(Millis(50));
  EXPECT_EQ(done, 40U);
  EXPECT_THAT(f.loop.RunUntilDone(other.Stop()), IsOk());
}

// A development chain that began anew under an old database.
TEST_P(SubmitterTest, AChainThatWasWoundBackIsFollowed) {
  for (uint16_t n = 0; n < 3; ++n) ASSERT_NE(Submit(n)->receipt, nullptr);
  f.StopNode();
  testing::FakeEvmChain anew(chain::ChainId::Evm(84532), f.Domain());
  anew.StartOver();
  anew.balance[f.payer.address()] = codec::Uint256(1'000);
  Submitter again(f.loop, anew, *f.database, f.signer.Clone(), Rng::System());
  again.Start();
  f.Wait(Millis(150));
  const auto sent = f.loop.RunUntilDone(again.Submit(Job(9), SettleFixture::In(Millis(5'000))));
  ASSERT_THAT(sent, IsOk());
  EXPECT_NE(sent->receipt, nullptr);
  EXPECT_THAT(f.loop.RunUntilDone(again.Stop()), IsOk());
}

TEST_P(SubmitterTest, NothingIsStoredWhileTheChainIsDownOrGasIsTooDear) {
  f.fake.GoDown(true);
  EXPECT_THAT(Submit(1, Millis(300)), FailsWith(Code::kChainUnreachable));
  f.fake.GoDown(false);
  Submitter::Job hungry = Job(1);
  hungry.gas = 500'001;
  EXPECT_THAT(
      f.loop.RunUntilDone(f.submitter->Submit(std::move(hungry), SettleFixture::In(Millis(1'000)))),
      FailsWith(Code::kOverloaded));
  SubmitterOptions stingy;
  stingy.max_fee_per_gas = codec::Uint256(1'009);  // the fake wants 1,010
  f.StartNode(stingy);
  EXPECT_THAT(Submit(1), FailsWith(Code::kOverloaded));
  f.StartNode();
  EXPECT_THAT(Submit(1), IsOk()) << "the payment was claimed by a call that failed";
}

// Two keys of one chain: each has nonces of its own, and the work is spread.
TEST_P(SubmitterTest, SeveralKeysShareTheWork) {
  f.fake.instant = false;
  const crypto::PrivateKey second = SettleFixture::Key(4);
  Submitter other(f.loop, f.fake, *f.database, second.Clone(), Rng::System());
  other.Start();
  f.Wait(Millis(150));
  Signers both({f.submitter.get(), &other}, *f.database, Clock::System());
  EXPECT_EQ(both.addresses(), (std::vector{f.signer.address(), second.address()}));
  std::vector<Submitter::Sent> sent;
  const auto one = [&](uint16_t n) -> Task<> {
    PTG_CO_TRY(Submitter::Sent s, co_await both.Submit(Job(n), SettleFixture::In(Millis(8'000))));
    sent.push_back(std::move(s));
    co_return {};
  };
  for (uint16_t n = 0; n < 20; ++n) {
    f.loop.Spawn(one(n), "submit");
    f.Wait(Millis(20));
  }
  for (int i = 0; i < 50 && f.fake.pool_size() < 20; ++i) f.Wait(Millis(50));
  EXPECT_NEAR(static_cast<double>(f.submitter->open()), 10, 3);
  f.fake.Mine();
  for (int i = 0; i < 50 && sent.size() < 20; ++i) f.Wait(Millis(50));
  ASSERT_EQ(sent.size(), 20U);
  EXPECT_EQ(f.fake.transfers, 20U);
  for (const Submitter::Sent& s : sent) {
    const auto seen = f.loop.RunUntilDone(both.Await(s.hash, SettleFixture::In(Millis(5'000))));
    ASSERT_THAT(seen, IsOk());
    EXPECT_NE(seen->receipt, nullptr);
  }
  EXPECT_THAT(f.loop.RunUntilDone(other.Stop()), IsOk());
}

}  // namespace
}  // namespace pontage::settle
