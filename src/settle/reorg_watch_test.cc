#include "settle/reorg_watch.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "codec/hex.h"
#include "scheme/exact_evm.h"
#include "settle/submitter.h"
#include "testing/expect.h"
#include "testing/settle_fixture.h"

// A chain that throws blocks out again, under the whole facilitator.
namespace pontage::settle {
namespace {

using Outcome = Facilitator::Outcome;
using testing::FakeEvmChain;
using testing::IsOk;
using testing::SettleFixture;
using Thrown = FakeEvmChain::Thrown;

class ReorgWatchTest : public ::testing::TestWithParam<testing::EngineKind> {
 protected:
  ReorgWatchTest() {
    f.fake.may_reorganise = true;
    f.StartNode(Quick());
  }

  SubmitterOptions Quick() {
    SubmitterOptions options;
    options.reorg_look = Millis(40);
    options.rebroadcast = Millis(200);
    options.metrics = &metrics;
    return options;
  }
  template <typename F>
  bool Until(const F& what, int tries = 120) {
    for (int i = 0; i < tries && !what(); ++i) f.Wait(Millis(50));
    return what();
  }
  std::string KeyOf(const SettleFixture::Sale& sale) const {
    return codec::ToHex(
        scheme::OnceKey(f.fake.chain(), f.usdc.address, sale.auth.from, sale.auth.nonce));
  }
  std::vector<ChainEvent> Events(const SettleFixture::Sale& sale) {
    const auto read = [key = KeyOf(sale)](db::Tx& tx) { return ReadChainEvents(tx, key); };
    return f.database->ReadNow(read).value_or(std::vector<ChainEvent>());
  }
  // "left back paid"
  std::string Told(const SettleFixture::Sale& sale) {
    std::string words;
    for (const ChainEvent& event : Events(sale)) words += (words.empty() ? "" : " ") + event.what;
    return words;
  }
  bool Tells(const SettleFixture::Sale& sale, const std::string& words) {
    const bool told = Until([&] { return Told(sale) == words; });
    EXPECT_EQ(Told(sale), words);
    return told;
  }
  Attempt OnlyAttempt(const SettleFixture::Sale& sale) {
    const auto read = [key = KeyOf(sale)](db::Tx& tx) { return ReadAttempts(tx, key); };
    const auto attempts = f.database->ReadNow(read);
    EXPECT_TRUE(attempts && attempts->size() == 1);
    return attempts && !attempts->empty() ? attempts->front() : Attempt{};
  }
  SettleFixture::Sale Settled(uint8_t nonce) {
    const SettleFixture::Sale sale = f.Make(nonce);
    const auto settled = f.Settle(sale);
    EXPECT_TRUE(settled && settled->outcome == Outcome::kSettled);
    EXPECT_EQ(OnlyAttempt(sale).watch, "watched");
    return sale;
  }
  bool Moved(const SettleFixture::Sale& sale) const {
    return f.fake.Moved(sale.auth.from, sale.auth.nonce);
  }
  int64_t AtRisk() {
    return metrics
        .GaugeOf("pontage_settle_not_final", "Payments in blocks that may still be thrown out.",
                 {{"network", "eip155:84532"}, {"signer", f.signer.address().ToLower()}})
        .value();
  }
  uint64_t Counted(std::string_view what) {
    return metrics
        .CounterOf("pontage_reorgs_total", "What reorganisations did to what we had settled.",
                   {{"network", "eip155:84532"}, {"what", what}})
        .value();
  }

  obs::Registry metrics;
  SettleFixture f{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Engines, ReorgWatchTest, ::testing::ValuesIn(testing::EnginesHere()),
                         testing::EngineName);

TEST_P(ReorgWatchTest, WhatIsMinedElsewhereAfterAllIsReadThereAndWatchedOn) {
  const SettleFixture::Sale sale = Settled(1);
  const std::optional<int64_t> before = OnlyAttempt(sale).block;
  f.Wait(Millis(100));
  f.fake.Reorganise(1, Thrown::kWaits);
  f.fake.Mine();
  EXPECT_TRUE(Tells(sale, "moved paid"));
  EXPECT_TRUE(Moved(sale));
  const Attempt attempt = OnlyAttempt(sale);
  EXPECT_EQ(attempt.block, *before + 1);
  EXPECT_EQ(attempt.watch, "watched");
  EXPECT_EQ(f.fake.transfers, 1U);
  EXPECT_EQ(Counted("moved"), 1U);
  // And once more.
  f.fake.Reorganise(1, Thrown::kWaits);
  f.fake.Mine();
  EXPECT_TRUE(Tells(sale, "moved paid moved paid"));
}

TEST_P(ReorgWatchTest, WhatFellOutAltogetherIsSentAgain) {
  const SettleFixture::Sale sale = Settled(1);
  const std::string hash = OnlyAttempt(sale).hash;
  f.fake.Reorganise(1, Thrown::kForgotten);
  EXPECT_FALSE(Moved(sale));
  EXPECT_TRUE(Tells(sale, "left back paid"));
  EXPECT_TRUE(Moved(sale));
  EXPECT_EQ(OnlyAttempt(sale).hash, hash) << "the same bytes";
  EXPECT_EQ(OnlyAttempt(sale).state, "mined");
  EXPECT_EQ(Counted("left"), 1U);
  EXPECT_EQ(Counted("back"), 1U);
  // Whoever shows it again hears what he heard before.
  const auto again = f.Settle(sale);
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(again->outcome, Outcome::kSettled);
  EXPECT_EQ(again->answer.transaction, hash);
}

TEST_P(ReorgWatchTest, SeveralBlocksFallOutAndTheirNoncesStayInOrder) {
  std::vector<SettleFixture::Sale> sales;
  for (uint8_t n = 1; n <= 3; ++n) sales.push_back(Settled(n));
  f.fake.Reorganise(3, Thrown::kForgotten);
  for (const auto& sale : sales) EXPECT_TRUE(Tells(sale, "left back paid"));
  EXPECT_EQ(f.fake.transfers, 3U);
  const SettleFixture::Sale later = Settled(4);
  EXPECT_TRUE(Moved(later));
}

TEST_P(ReorgWatchTest, WhatFellOutWhileNobodyRanIsSentAgain) {
  const SettleFixture::Sale sale = Settled(1);
  f.StopNode();
  f.fake.Reorganise(1, Thrown::kForgotten);
  f.StartNode(Quick());
  EXPECT_TRUE(Tells(sale, "left back paid"));
  EXPECT_TRUE(Moved(sale));
  EXPECT_TRUE(Moved(Settled(2))) << "its nonce was not given twice";
}

// Between its being open again and its being sent.
TEST_P(ReorgWatchTest, ACrashInTheMiddleOfItChangesNothing) {
  const SettleFixture::Sale sale = Settled(1);
  f.fake.GoDeaf(true);
  f.fake.Reorganise(1, Thrown::kForgotten);
  ASSERT_TRUE(Tells(sale, "left"));
  EXPECT_EQ(OnlyAttempt(sale).watch, "gone");
  f.StopNode();
  f.fake.GoDeaf(false);
  f.StartNode(Quick());
  EXPECT_TRUE(Tells(sale, "left back paid"));
  EXPECT_TRUE(Moved(sale));
}

TEST_P(ReorgWatchTest, AnAuthorizationThatSomebodyElseUsedMeanwhileIsPaidElsewhere) {
  const SettleFixture::Sale sale = Settled(1);
  f.fake.Reorganise(1, Thrown::kForgotten);
  f.fake.FrontRun(sale.auth);
  EXPECT_TRUE(Tells(sale, "left back paid_elsewhere"));
  EXPECT_EQ(Events(sale).back().detail.substr(0, 4), "0xfe");
  EXPECT_TRUE(Until([&] { return Counted("paid_elsewhere") == 1; }));
  EXPECT_EQ(f.fake.transfers, 1U);
}

// A node that has not got the block yet says "unused" of what was used in it.
TEST_P(ReorgWatchTest, ANodeThatIsBehindMakesNothingLost) {
  const SettleFixture::Sale sale = Settled(1);
  f.fake.lags = true;
  f.fake.Reorganise(1, Thrown::kForgotten);
  f.fake.FrontRun(sale.auth);
  EXPECT_TRUE(Tells(sale, "left back"));
  f.Wait(Millis(300));
  EXPECT_EQ(Told(sale), "left back");
  f.fake.lags = false;
  EXPECT_TRUE(Tells(sale, "left back paid_elsewhere"));
}

TEST_P(ReorgWatchTest, APaymentThatCannotBeCollectedAgainIsLostAndSaidToBe) {
  const SettleFixture::Sale sale = Settled(1);
  f.fake.Reorganise(1, Thrown::kForgotten);
  f.fake.balance[f.payer.address()] = codec::Uint256(0);
  EXPECT_TRUE(Tells(sale, "left back lost"));
  EXPECT_EQ(OnlyAttempt(sale).ok, false);
  EXPECT_TRUE(Until([&] { return Counted("lost") == 1; })) << "counted behind the write";
  const auto count = [](db::Tx& tx) { return CountLost(tx, UnixMs(0)); };
  EXPECT_EQ(f.database->ReadNow(count).value_or(-1), 1);
}

// The nonce went to another transaction of the key on the new chain: the payment gets a new one.
TEST_P(ReorgWatchTest, WhoseNonceIsTakenOnTheNewChainIsSignedAgain) {
  SubmitterOptions options = Quick();
  options.heal = Millis(200);
  f.StartNode(options);
  const SettleFixture::Sale sale = Settled(1);
  f.fake.Reorganise(1, Thrown::kForgotten);
  f.fake.UseNonceElsewhere(f.signer.address());
  EXPECT_TRUE(Until([&] { return Moved(sale); }));
  EXPECT_TRUE(Tells(sale, "left back paid"));
}

TEST_P(ReorgWatchTest, ABatchIsOneLookAndEachPaymentIsTold) {
  f.fake.multicall = true;
  f.fake.instant = false;
  SubmitterOptions options = Quick();
  f.StartNode(options);
  std::vector<SettleFixture::Sale> sales;
  std::vector<Result<Facilitator::Settlement>> answers(5);
  for (uint8_t n = 1; n <= 5; ++n) sales.push_back(f.Make(n));
  const auto settle = [this](const SettleFixture::Sale& sale,
                             Result<Facilitator::Settlement>& answer) -> Task<> {
    answer = co_await f.facilitator->Settle(sale.payment, sale.requirements,
                                            SettleFixture::In(Millis(5'000)));
    co_return {};
  };
  for (size_t i = 0; i < sales.size(); ++i) f.loop.Spawn(settle(sales[i], answers[i]), "settle");
  ASSERT_TRUE(Until([&] { return f.fake.pool_size() > 0; }));
  ASSERT_TRUE(Until([&] {
    f.fake.Mine();
    return f.fake.transfers == 5;
  }));
  f.Wait(Millis(300));
  ASSERT_GE(f.fake.batches, 1U);
  const size_t depth = 8;
  f.fake.instant = true;
  f.fake.Reorganise(depth, Thrown::kForgotten);
  for (const auto& sale : sales) EXPECT_TRUE(Tells(sale, "left back paid"));
  EXPECT_EQ(f.fake.transfers, 5U);
  // However many payments there are, a look is one question.
  const size_t looks = f.fake.looks;
  f.Wait(Millis(400));
  EXPECT_LE(f.fake.looks - looks, 11U);
  EXPECT_GE(f.fake.looks - looks, 3U);
}

TEST_P(ReorgWatchTest, AfterSixtyFourBlocksNobodyLooksAnyMore) {
  const SettleFixture::Sale sale = Settled(1);
  for (uint64_t i = 0; i < kFinalDepth - 1; ++i) f.fake.Mine();
  f.Wait(Millis(300));
  EXPECT_EQ(OnlyAttempt(sale).watch, "watched");
  f.fake.Mine();
  EXPECT_TRUE(Until([&] { return OnlyAttempt(sale).watch == "final"; }));
  const size_t looks = f.fake.looks;
  f.Wait(Millis(300));
  EXPECT_EQ(f.fake.looks, looks);
  EXPECT_EQ(Told(sale), "");
}

TEST_P(ReorgWatchTest, WhereTheChainNamesItsFinalBlockThatIsTheEnd) {
  f.fake.finalized = 0;
  const SettleFixture::Sale sale = Settled(1);
  for (uint64_t i = 0; i < kFinalDepth + 5; ++i) f.fake.Mine();
  f.Wait(Millis(300));
  EXPECT_EQ(OnlyAttempt(sale).watch, "watched") << "it knows better than a number of blocks";
  f.fake.finalized = static_cast<uint64_t>(*OnlyAttempt(sale).block);
  EXPECT_TRUE(Until([&] { return OnlyAttempt(sale).watch == "final"; }));
}

TEST_P(ReorgWatchTest, AChainThatDoesNotAnswerSaysNothing) {
  const SettleFixture::Sale sale = Settled(1);
  f.fake.GoDown(true);
  f.Wait(Millis(400));
  EXPECT_EQ(Told(sale), "");
  EXPECT_EQ(OnlyAttempt(sale).watch, "watched");
  f.fake.GoDown(false);
  f.fake.Reorganise(1, Thrown::kForgotten);
  EXPECT_TRUE(Tells(sale, "left back paid"));
}

// Two nodes with one key on one database see the same; one of them writes it.
TEST_P(ReorgWatchTest, SeveralNodesTellItOnce) {
  Submitter other(f.loop, f.fake, *f.database, f.signer.Clone(), Rng::System(), Quick());
  other.Start();
  f.Wait(Millis(150));
  const SettleFixture::Sale sale = Settled(1);
  f.StopNode();
  f.StartNode(Quick());  // both have it from the database
  f.fake.Reorganise(1, Thrown::kForgotten);
  EXPECT_TRUE(Tells(sale, "left back paid"));
  f.Wait(Millis(400));
  EXPECT_EQ(Told(sale), "left back paid");
  EXPECT_EQ(Counted("left"), 1U);
  EXPECT_EQ(f.fake.transfers, 1U);
  (void)f.loop.RunUntilDone(other.Stop());
}

TEST_P(ReorgWatchTest, TheGaugeSaysHowManyMayStillFallOut) {
  Settled(1);
  Settled(2);
  f.StartNode(Quick());
  EXPECT_TRUE(Until([&] { return AtRisk() == 2; })) << AtRisk();
}

TEST_P(ReorgWatchTest, ANodeThatKeepsNoOldBlocksIsNoHindrance) {
  f.fake.forgets_old_blocks = true;
  const db::Statement never{"test.never", "UPDATE signer_nonce SET first_block = ''"};
  const auto forget = [&never](db::Tx& tx) { return tx.Run(never); };
  ASSERT_THAT(f.database->WriteNow(forget), IsOk());
  f.StartNode(Quick());
  const SettleFixture::Sale sale = Settled(1);
  f.StopNode();
  f.fake.Reorganise(1, Thrown::kForgotten);
  f.StartNode(Quick());
  EXPECT_TRUE(Tells(sale, "left back paid"));
}

// A developer's chain that was begun anew: nothing of the old one is sent to it.
TEST_P(ReorgWatchTest, AnotherChainIsNoReorganisation) {
  const SettleFixture::Sale sale = Settled(1);
  f.StopNode();
  f.fake.StartOver();
  f.StartNode(Quick());
  f.Wait(Millis(300));
  EXPECT_EQ(Told(sale), "");
  EXPECT_EQ(f.fake.transfers, 1U);
  EXPECT_TRUE(Moved(Settled(2))) << "nonces begin anew";
}

}  // namespace
}  // namespace pontage::settle
