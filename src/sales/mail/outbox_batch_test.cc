// Mails to everybody, which share calls: a key always means the same ones.
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/mail_fixture.h"

namespace pontage::mail {
namespace {

using testing::Does;
using testing::IsOk;
using testing::MailTo;
using ::testing::SizeIs;

class OutboxBatchTest : public testing::OutboxFixture {};

INSTANTIATE_TEST_SUITE_P(Engines, OutboxBatchTest, ::testing::ValuesIn(testing::EnginesHere()),
                         testing::EngineName);

TEST_P(OutboxBatchTest, MailsToEverybodyShareACall) {
  for (const char* n : {"1", "2", "3"}) {
    Put(MailTo(std::string("a") + n + "@buyer.example", std::string("key_rotation:") + n,
               Kind::kKeyRotation));
  }
  Put(MailTo("ann@buyer.example", "license:1"));
  EXPECT_EQ(Pass(), 4u);
  EXPECT_THAT(resend_.calls, SizeIs(2)) << "one for three, and the license by itself";
  for (const char* n : {"1", "2", "3"}) {
    const std::string key = std::string("key_rotation:") + n;
    EXPECT_EQ(resend_.Delivered(key), 1u);
    EXPECT_EQ(Row(key).provider_id, "id:" + key);
  }
}

// A key means these mails: whoever died, or came in between, changes nothing about that.
TEST_P(OutboxBatchTest, ACrashOfASharedCallRepeatsTheVerySameCall) {
  for (const char* n : {"1", "2"}) {
    Put(MailTo("a@buyer.example", std::string("key_rotation:") + n, Kind::kKeyRotation));
  }
  resend_.script = {Does::kTakeAndHang};
  PassAndDie();
  Put(MailTo("a@buyer.example", "key_rotation:3", Kind::kKeyRotation));
  Put(MailTo("a@buyer.example", "key_rotation:4", Kind::kKeyRotation));
  const UnixMs now = clock_.Now();
  EXPECT_THAT(Do([&](db::Tx& tx) { return Suppress(tx, "a@buyer.example", "complained", now); }),
              IsOk());
  clock_.Advance(31'000ms);
  EXPECT_EQ(Pass(), 2u);
  ASSERT_THAT(resend_.calls, SizeIs(2));
  EXPECT_EQ(resend_.calls[0], resend_.calls[1]);
  EXPECT_FALSE(resend_.changed_body);
  for (const char* n : {"1", "2"}) {
    EXPECT_EQ(resend_.Delivered(std::string("key_rotation:") + n), 1u);
  }
  EXPECT_EQ(Row("key_rotation:3").state, "suppressed");
}

TEST_P(OutboxBatchTest, ASharedCallThatIsRefusedForOneGoesOneByOne) {
  for (const char* n : {"1", "2", "3"}) {
    Put(MailTo("a@buyer.example", std::string("key_rotation:") + n, Kind::kKeyRotation));
  }
  resend_.script = {Does::kRefuse, Does::kTake, Does::kRefuse, Does::kTake};
  RunFor(30'000ms);
  EXPECT_THAT(resend_.calls, SizeIs(4));
  std::multiset<std::string> states;
  for (const char* n : {"1", "2", "3"}) {
    states.insert(Row(std::string("key_rotation:") + n).state);
  }
  EXPECT_EQ(states, (std::multiset<std::string>{"dead", "sent", "sent"}));
}

TEST_P(OutboxBatchTest, ASharedCallThatNobodyTookMayHaveOthersInItNextTime) {
  Put(MailTo("a@buyer.example", "key_rotation:1", Kind::kKeyRotation));
  Put(MailTo("a@buyer.example", "key_rotation:2", Kind::kKeyRotation));
  resend_.script = {Does::kRefuseForNow};
  EXPECT_EQ(Pass(), 2u);
  Put(MailTo("a@buyer.example", "key_rotation:3", Kind::kKeyRotation));
  clock_.Advance(10'000ms);
  EXPECT_EQ(Pass(), 3u);
  EXPECT_THAT(resend_.calls, SizeIs(2));
  EXPECT_NE(resend_.calls[0], resend_.calls[1]);
  EXPECT_FALSE(resend_.changed_body);
  EXPECT_EQ(resend_.Delivered("key_rotation:3"), 1u);
}

TEST_P(OutboxBatchTest, SharedCallsGoToTheOtherProviderOneByOne) {
  Put(MailTo("a@buyer.example", "key_rotation:1", Kind::kKeyRotation));
  Put(MailTo("a@buyer.example", "key_rotation:2", Kind::kKeyRotation));
  resend_.usual = Does::kAlarm;
  RunFor(30'000ms);
  EXPECT_EQ(smtp_.Delivered("key_rotation:1"), 1u);
  EXPECT_EQ(smtp_.Delivered("key_rotation:2"), 1u);
}

}  // namespace
}  // namespace pontage::mail
