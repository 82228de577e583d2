#include "buyer/spend_ledger.h"

#include <filesystem>
#include <fstream>
#include <stdlib.h>
#include <unistd.h>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "testing/expect.h"

namespace pontage::buyer {
namespace {

using testing::FailsWith;
using testing::IsOk;

constexpr int64_t kNobody = 999'999'999;  // Above any process id.
const UnixMs kNow = UnixMs::FromSeconds(1'000);

class SpendLedgerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "ptg-spend-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
    path_ = dir_ + "/state/pontage/spent.jsonl";
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  SpendLedger Open(int64_t process = kNobody) {
    auto ledger = SpendLedger::Open(path_, process);
    EXPECT_THAT(ledger, IsOk());
    return *std::move(ledger);
  }

  static SpendLedger::Entry Entry(uint8_t nonce, std::string request = "r") {
    SpendLedger::Entry e;
    e.request = std::move(request);
    e.url = "http://seller/x";
    e.payment.header_name = "PAYMENT-SIGNATURE";
    e.payment.header = "e30=";
    e.payment.network = chain::ChainId::Evm(84532);
    e.payment.authorization.value = codec::Uint256(10'000);
    e.payment.authorization.valid_before = codec::Uint256(1'300);
    e.payment.authorization.nonce.fill(nonce);
    e.payment.valid_before = UnixMs::FromSeconds(1'300);
    e.accepted = codec::Json::Object({{"scheme", "exact"}});
    e.price = Money::Micros(10'000);
    return e;
  }

  std::string dir_;
  std::string path_;
};

TEST_F(SpendLedgerTest, APaymentWhoseEndWasNotSeenIsFoundByTheNextProcess) {
  {
    SpendLedger book = Open();
    ASSERT_THAT(book.Signed(Entry(7)), IsOk());
  }
  const SpendLedger book = Open(kNobody + 1);
  const SpendLedger::Entry* open = book.FindOpen("r", kNow);
  ASSERT_NE(open, nullptr);
  EXPECT_EQ(open->payment.header, "e30=");
  EXPECT_EQ(open->payment.authorization.nonce, Entry(7).payment.authorization.nonce);
  EXPECT_EQ(open->payment.valid_before, UnixMs::FromSeconds(1'300));
  EXPECT_EQ(open->price, Money::Micros(10'000));
  EXPECT_EQ(open->accepted, Entry(7).accepted);
  EXPECT_EQ(book.FindOpen("another request", kNow), nullptr);
  EXPECT_EQ(book.FindOpen("r", UnixMs::FromSeconds(1'300)), nullptr) << "expired";
}

TEST_F(SpendLedgerTest, AClosedPaymentIsNotFoundAgainAndCounts) {
  SpendLedger book = Open();
  ASSERT_THAT(book.Signed(Entry(1)), IsOk());
  ASSERT_THAT(book.Signed(Entry(2)), IsOk());
  ASSERT_THAT(book.Close(Entry(1).payment.authorization.nonce, "0xabc"), IsOk());
  ASSERT_THAT(book.Close(Entry(2).payment.authorization.nonce, ""), IsOk());
  for (const SpendLedger& seen : {book, Open()}) {
    EXPECT_EQ(seen.FindOpen("r", kNow), nullptr);
    EXPECT_EQ(*seen.Spent(), Money::Micros(10'000));
    EXPECT_EQ(seen.entries()[0].transaction, "0xabc");
  }
}

TEST_F(SpendLedgerTest, ALivingProcessLooksAfterItsOwn) {
  {
    SpendLedger book = Open(getppid());
    ASSERT_THAT(book.Signed(Entry(1)), IsOk());
  }
  EXPECT_EQ(Open(getpid()).FindOpen("r", kNow), nullptr);
  EXPECT_NE(Open(getppid()).FindOpen("r", kNow), nullptr) << "its own it does see";
}

TEST_F(SpendLedgerTest, ALineCutShortLosesOnlyItself) {
  {
    SpendLedger book = Open();
    ASSERT_THAT(book.Signed(Entry(1)), IsOk());
  }
  std::ofstream(path_, std::ios::app) << R"({"event":"signed","request":"r","nonce":"0x)";
  {
    SpendLedger book = Open();
    EXPECT_EQ(book.entries().size(), 1u);
    ASSERT_THAT(book.Signed(Entry(2, "s")), IsOk());
  }
  const SpendLedger book = Open();
  EXPECT_NE(book.FindOpen("r", kNow), nullptr);
  EXPECT_NE(book.FindOpen("s", kNow), nullptr);
}

TEST_F(SpendLedgerTest, NobodyElseMayReadIt) {
  Open();
  struct stat s{};
  ASSERT_EQ(stat(path_.c_str(), &s), 0);
  EXPECT_EQ(s.st_mode & 0777, 0600u);
}

TEST_F(SpendLedgerTest, WhatCannotBeWrittenIsAnError) {
  SpendLedger book = Open();
  std::filesystem::remove_all(dir_ + "/state");
  EXPECT_THAT(book.Signed(Entry(1)), FailsWith(Code::kStore));
  EXPECT_TRUE(book.entries().empty());
}

TEST_F(SpendLedgerTest, RequestsThatDifferHaveDigestsThatDiffer) {
  const crypto::EvmAddress payer{};
  const std::string digest = SpendLedger::DigestOf("POST", "http://a/x", "body", payer);
  EXPECT_EQ(digest, SpendLedger::DigestOf("POST", "http://a/x", "body", payer));
  EXPECT_NE(digest, SpendLedger::DigestOf("PUT", "http://a/x", "body", payer));
  EXPECT_NE(digest, SpendLedger::DigestOf("POST", "http://a/x\nbody", "", payer));
  EXPECT_NE(digest, SpendLedger::DigestOf("POST", "http://a/xb", "ody", payer));
  crypto::EvmAddress other{};
  other.bytes[0] = 1;
  EXPECT_NE(digest, SpendLedger::DigestOf("POST", "http://a/x", "body", other));
}

}  // namespace
}  // namespace pontage::buyer
