#include "settle/remote_answers.h"

#include <string_view>

#include <gtest/gtest.h>

#include "testing/expect.h"

namespace pontage::settle {
namespace {

constexpr std::string_view kPayer = "0x54698062E9a1CAae86075D05d3ED8d4809bFdF03";

Expected Asked() {
  return {.version = 2,
          .network = "eip155:84532",
          .payer = std::string(kPayer),
          .amount = codec::Uint256(1'000)};
}

TEST(ReadVerify, OnlyABooleanTrueIsAYes) {
  const struct {
    int status;
    std::string_view body;
    Code fault;  // kCount_: none
    bool valid;
    std::string_view reason;
  } cases[] = {
      {200, R"({"isValid":true})", Code::kCount_, true, ""},
      {200, R"({"isValid":true,"payer":"0x54698062e9a1caae86075d05d3ed8d4809bfdf03"})",
       Code::kCount_, true, ""},
      {200, R"({"isValid":true,"payer":null})", Code::kCount_, true, ""},
      {200, R"({"isValid":true,"payer":"0x0000000000000000000000000000000000000001"})",
       Code::kFacilitatorAnswer, false, ""},
      {200, R"({"isValid":"true"})", Code::kFacilitatorAnswer, false, ""},
      {200, R"({"isValid":1})", Code::kFacilitatorAnswer, false, ""},
      {200, R"({})", Code::kFacilitatorAnswer, false, ""},
      {200, R"([])", Code::kFacilitatorAnswer, false, ""},
      {200, R"({"isValid":true,"isValid":false})", Code::kFacilitatorAnswer, false, ""},
      {200, "<html>", Code::kFacilitatorAnswer, false, ""},
      {200, "", Code::kFacilitatorAnswer, false, ""},
      {400, R"({"isValid":true})", Code::kFacilitatorAnswer, false, ""},
      {500, R"({"isValid":true})", Code::kFacilitatorAnswer, false, ""},
      {404, "not found", Code::kFacilitatorAnswer, false, ""},
      {401, R"({"error":"token"})", Code::kFacilitatorAnswer, false, ""},
      {429, "slow down", Code::kFacilitatorUnreachable, false, ""},
      {500, R"({"error":"boom"})", Code::kFacilitatorUnreachable, false, ""},
      {503, "", Code::kFacilitatorUnreachable, false, ""},
      {200, R"({"isValid":false,"invalidReason":"insufficient_funds"})", Code::kCount_, false,
       "insufficient_funds"},
      // Others answer a bad payment with 400 or 412; the reason is kept.
      {400, R"({"isValid":false,"invalidReason":"some_other_word"})", Code::kCount_, false,
       "some_other_word"},
      {412, R"({"isValid":false,"invalidReason":"permit2_allowance_required"})", Code::kCount_,
       false, "permit2_allowance_required"},
      {200, R"({"isValid":false})", Code::kCount_, false, "invalid_payment"},
      // What others answer when their own chain is away.
      {200, R"({"isValid":false,"invalidReason":"unexpected_verify_error"})",
       Code::kFacilitatorUnreachable, false, ""},
  };
  for (const auto& c : cases) {
    const auto answer = ReadVerify(c.status, c.body, Asked());
    if (c.fault != Code::kCount_) {
      EXPECT_THAT(answer, testing::FailsWith(c.fault)) << c.status << " " << c.body;
      continue;
    }
    ASSERT_THAT(answer, testing::IsOk()) << c.status << " " << c.body;
    EXPECT_EQ(answer->valid, c.valid) << c.body;
    EXPECT_EQ(answer->reason, c.reason) << c.body;
  }
}

TEST(ReadSettle, WhatIsNoPlainAnswerIsUnclearAndNeverARefusal) {
  const struct {
    int status;
    std::string_view body;
    Reading want;
  } cases[] = {
      {200, R"({"success":true,"transaction":"0xab","network":"eip155:84532"})", Reading::kSettled},
      {200, R"({"success":true,"transaction":"0xab","network":"base-sepolia"})", Reading::kSettled},
      {200,
       R"({"success":true,"transaction":"0xab","network":"eip155:84532","amount":"1000","payer":"0x54698062e9a1caae86075d05d3ed8d4809bfdf03"})",
       Reading::kSettled},
      {200, R"({"success":true,"transaction":"0xab","network":"eip155:8453"})", Reading::kUnclear},
      {200, R"({"success":true,"transaction":"0xab","network":""})", Reading::kUnclear},
      {200, R"({"success":true,"transaction":"","network":"eip155:84532"})", Reading::kUnclear},
      {200, R"({"success":true,"network":"eip155:84532"})", Reading::kUnclear},
      {200, R"({"success":true,"transaction":"0xab","network":"eip155:84532","amount":"999"})",
       Reading::kUnclear},
      {200,
       R"({"success":true,"transaction":"0xab","network":"eip155:84532","payer":"0x0000000000000000000000000000000000000001"})",
       Reading::kUnclear},
      {200, R"({"success":"true","transaction":"0xab","network":"eip155:84532"})",
       Reading::kUnclear},
      {500, R"({"success":true,"transaction":"0xab","network":"eip155:84532"})", Reading::kUnclear},
      {400, R"({"success":true,"transaction":"0xab","network":"eip155:84532"})", Reading::kUnclear},
      {200, R"({"success":true,"transaction":"0xab\r\nX: y","network":"eip155:84532"})",
       Reading::kUnclear},
      {200, R"({"success":true,"transaction":"not one","network":"eip155:84532"})",
       Reading::kUnclear},
      {200, R"({})", Reading::kUnclear},
      {200, "<html>", Reading::kUnclear},
      {500, R"({"success":false,"errorReason":"insufficient_funds"})", Reading::kUnclear},
      {404, "gone", Reading::kUnclear},
      {200, R"({"success":false,"errorReason":"insufficient_funds"})", Reading::kRefused},
      {400, R"({"success":false,"errorReason":"invalid_exact_evm_signature","network":""})",
       Reading::kRefused},
      {200, R"({"success":false,"errorReason":"settlement_pending","transaction":"0xab"})",
       Reading::kPending},
      {200, R"({"success":false,"errorReason":"unexpected_settle_error"})", Reading::kDoubtful},
      {200, R"({"success":false,"errorReason":"invalid_exact_evm_nonce_already_used"})",
       Reading::kDoubtful},
      {200, R"({"success":false,"errorReason":"duplicate_settlement"})", Reading::kDoubtful},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(ReadSettle(c.status, c.body, Asked()).reading, c.want) << c.status << " " << c.body;
  }
}

// It goes on into response headers, logs and the books.
TEST(ReadSettle, WhatAFacilitatorSaysIsBoundedAndOneLine) {
  const std::string e_acute = "\xc3\xa9";
  std::string text;
  while (text.size() < 5'000) text += e_acute;
  const SettleReading refused =
      ReadSettle(200,
                 R"({"success":false,"errorReason":"a\r\nb\u0000)" + text + R"(","transaction":")" +
                     std::string(5'000, 'x') + R"("})",
                 Asked());
  EXPECT_EQ(refused.reading, Reading::kRefused);
  EXPECT_LE(refused.answer.reason.size(), 500U);
  EXPECT_TRUE(refused.answer.reason.starts_with("a  b " + e_acute));
  EXPECT_TRUE(refused.answer.reason.ends_with(e_acute)) << "cut in the middle of a letter";
  EXPECT_EQ(refused.answer.transaction, "");
  const SettleReading settled =
      ReadSettle(200,
                 R"({"success":true,"network":"eip155:84532","transaction":")" +
                     std::string(5'000, 'x') + R"("})",
                 Asked());
  EXPECT_EQ(settled.reading, Reading::kUnclear);
}

TEST(SameNetwork, BothSpellingsMeanOneChain) {
  EXPECT_TRUE(SameNetwork("base-sepolia", "eip155:84532"));
  EXPECT_TRUE(SameNetwork("made-up", "made-up"));
  EXPECT_FALSE(SameNetwork("base", "eip155:84532"));
  EXPECT_FALSE(SameNetwork("made-up", "other"));
}

TEST(Weigh, ARefusalThatIsNotTheFirstAnswerIsADoubt) {
  const struct {
    Reading said;
    Reading first;
    Reading later;
  } cases[] = {{Reading::kSettled, Reading::kSettled, Reading::kSettled},
               {Reading::kPending, Reading::kPending, Reading::kPending},
               {Reading::kRefused, Reading::kRefused, Reading::kDoubtful},
               {Reading::kDoubtful, Reading::kDoubtful, Reading::kDoubtful},
               {Reading::kUnclear, Reading::kUnclear, Reading::kUnclear}};
  for (const auto& c : cases) {
    EXPECT_EQ(Weigh(c.said, true), c.first);
    EXPECT_EQ(Weigh(c.said, false), c.later);
  }
}

}  // namespace
}  // namespace pontage::settle
