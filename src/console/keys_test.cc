#include "console/keys.h"

#include <gtest/gtest.h>

#include "testing/expect.h"

namespace pontage::console {
namespace {

using pontage::testing::FailsWith;
using pontage::testing::IsOk;

constexpr const char* kGood = "Zo3dK0v8Qm1xW7uT9sRb";

TEST(KeysTest, WeakKeys) {
  for (const char* weak :
       {"", "short", "123456789012345", "changeme-changeme", "ChangeMe_ChangeMe-1",
        "password12345678", "operator_key_12345", "aaaaaaaaaaaaaaaaaaaaaaaa",
        "abababababababababab", "admin-admin-admin-admin", "pontage-operator-key"}) {
    EXPECT_TRUE(WeaknessOf(weak)) << weak;
  }
  for (const char* good :
       {kGood, "correct horse battery staple", "0f1e2d3c4b5a69788796a5b4c3d2e1f0"}) {
    EXPECT_FALSE(WeaknessOf(good)) << good << ": " << *WeaknessOf(good);
  }
}

TEST(KeysTest, ScopesCover) {
  const auto with = [](Scope scope) {
    Scopes scopes;
    scopes.Add(scope);
    return scopes;
  };
  using enum Scope;
  EXPECT_FALSE(Scopes().Cover(kRead));
  for (const Scope has : {kRead, kSupport, kRefund, kOwner}) {
    for (const Scope wanted : {kRead, kSupport, kRefund, kOwner}) {
      const bool covers = has == kOwner || wanted == kRead || has == wanted;
      EXPECT_EQ(with(has).Cover(wanted), covers) << ToString(has) << ' ' << ToString(wanted);
    }
    EXPECT_EQ(ParseScope(ToString(has)), has);
  }
  EXPECT_FALSE(ParseScope("everything"));
}

class OperatorKeysTest : public ::testing::Test {
 protected:
  OperatorKeysTest() : keys_(Two()) {}
  static std::vector<OperatorKey> Two() {
    std::vector<OperatorKey> keys;
    keys.push_back({.name = "operator", .key = Secret(kGood), .scopes = Scopes::All()});
    OperatorKey bot{.name = "key:bot", .key = Secret("the key of the robot"), .scopes = {}};
    bot.scopes.Add(Scope::kRead);
    keys.push_back(std::move(bot));
    // Never matches, not even nothing.
    keys.push_back({.name = "key:empty", .key = Secret(), .scopes = Scopes::All()});
    return keys;
  }
  Result<Caller> Judge(std::string_view key, std::string_view address = "192.0.2.1") {
    return keys_.Judge(key, address, now_);
  }
  SteadyMs now_{1'000'000};
  OperatorKeys keys_;
};

TEST_F(OperatorKeysTest, KnowsWhoComes) {
  const auto owner = Judge(kGood);
  ASSERT_THAT(owner, IsOk());
  EXPECT_EQ(owner->name, "operator");
  EXPECT_TRUE(owner->scopes.Cover(Scope::kRefund));
  const auto bot = Judge("the key of the robot");
  ASSERT_THAT(bot, IsOk());
  EXPECT_FALSE(bot->scopes.Cover(Scope::kSupport));
  EXPECT_THAT(Judge(""), FailsWith(Code::kUnauthorized));
  EXPECT_THAT(Judge("the key of the robo"), FailsWith(Code::kUnauthorized));
}

TEST_F(OperatorKeysTest, WrongTriesAreBoundedForEachAddress) {
  for (int64_t i = 0; i < WrongTries::kTries; ++i) {
    EXPECT_THAT(Judge("wrong"), FailsWith(Code::kUnauthorized)) << i;
  }
  EXPECT_THAT(Judge("wrong"), FailsWith(Code::kRateLimited));
  EXPECT_THAT(Judge(kGood), FailsWith(Code::kRateLimited)) << "not even asked";
  EXPECT_THAT(Judge(kGood, "192.0.2.2"), IsOk()) << "somebody else";
  now_ = now_ + WrongTries::kEach;
  EXPECT_THAT(Judge(kGood), IsOk());
  EXPECT_THAT(Judge("wrong"), FailsWith(Code::kUnauthorized));
  EXPECT_THAT(Judge("wrong"), FailsWith(Code::kRateLimited)) << "one try each";
  now_ = now_ + 100 * WrongTries::kEach;
  for (int64_t i = 0; i < WrongTries::kTries; ++i) {
    EXPECT_THAT(Judge("wrong"), FailsWith(Code::kUnauthorized)) << i;
  }
}

TEST_F(OperatorKeysTest, OneNetworkOfIpv6IsOneAddress) {
  for (int64_t i = 0; i < WrongTries::kTries; ++i) {
    (void)Judge("wrong", "2001:db8:1:2::" + std::to_string(i));
  }
  EXPECT_THAT(Judge(kGood, "2001:db8:1:2:ffff::1"), FailsWith(Code::kRateLimited));
  EXPECT_THAT(Judge(kGood, "2001:db8:1:3::1"), IsOk());
}

TEST_F(OperatorKeysTest, WhoForgetsTheHeaderIsNotShutOut) {
  for (int i = 0; i < 100; ++i) EXPECT_THAT(Judge(""), FailsWith(Code::kUnauthorized));
  EXPECT_THAT(Judge(kGood), IsOk());
}

}  // namespace
}  // namespace pontage::console
