#include "sales/claim.h"

#include <memory>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/engines.h"
#include "testing/expect.h"
#include "testing/stepped_clock.h"

namespace pontage::sales {
namespace {

using pontage::testing::FailsWith;
using pontage::testing::IsOk;

class ClaimTest : public ::testing::TestWithParam<pontage::testing::EngineKind> {
 protected:
  ClaimTest() : engine_(GetParam()), database_(engine_.OpenMigrated()) {}

  std::string Offer(const std::string& id, int64_t generation = 1) {
    license::License license;
    license.id = id;
    license.generation = generation;
    const auto offered = database_->WriteNow(
        [&](db::Tx& tx) { return OfferClaim(tx, license, clock_.Now(), rng_); });
    EXPECT_THAT(offered, IsOk());
    return offered.value_or("");
  }
  Result<std::string> Take(const std::string& token) {
    return database_->WriteNow([&](db::Tx& tx) { return TakeClaim(tx, token, clock_.Now()); });
  }
  Result<> TakeOfSession(const std::string& session) {
    return database_->WriteNow(
        [&](db::Tx& tx) { return TakeClaimOfSession(tx, session, "lic_1", clock_.Now()); });
  }

  pontage::testing::SteppedClock clock_;
  SeededRng rng_{1};
  pontage::testing::Engine engine_;
  std::unique_ptr<db::Database> database_;
};

TEST_P(ClaimTest, ALinkShowsItsLicenseOnce) {
  const std::string one = Offer("lic_1");
  const std::string two = Offer("lic_2");
  EXPECT_NE(one, two);
  EXPECT_EQ(one.size(), 47u);
  EXPECT_EQ(Take(two).value_or(""), "lic_2");
  EXPECT_EQ(Take(one).value_or(""), "lic_1");
  EXPECT_THAT(Take(one), FailsWith(Code::kNotFound));
}

// A mailbox that is somebody else's by now does not get at the text that was made because of it.
TEST_P(ClaimTest, ALinkShowsNoTextThatReplacedItsOwn) {
  license::License l;
  l.id = "lic_1";
  l.origin = "operator:lic_1";
  l.generation = 2;
  const auto insert = [&](db::Tx& tx) { return license::InsertLicense(tx, l, clock_.Now()); };
  ASSERT_THAT(database_->WriteNow(insert), IsOk());
  const std::string old = Offer("lic_1", 1);
  const std::string now = Offer("lic_1", 2);
  EXPECT_THAT(Take(old), FailsWith(Code::kNotFound));
  EXPECT_EQ(Take(now).value_or(""), "lic_1");
}

TEST_P(ClaimTest, ALinkThatIsTooOldOrNoneShowsNothing) {
  const std::string late = Offer("lic_1");
  clock_.Advance(kClaimTerm);
  EXPECT_THAT(Take(late), FailsWith(Code::kNotFound));
  for (const std::string& bad : {std::string(), std::string("clm_"), late + "x", "x" + late,
                                 "clm_" + std::string(100'000, 'a')}) {
    EXPECT_THAT(Take(bad), FailsWith(Code::kNotFound)) << bad.substr(0, 60);
  }
  // What is over is forgotten when the next is offered; what waits is not.
  const std::string next = Offer("lic_1");
  Offer("lic_2");
  EXPECT_EQ(Take(next).value_or(""), "lic_1");
}

TEST_P(ClaimTest, ASessionsPageShowsItsLicenseOnce) {
  EXPECT_THAT(TakeOfSession("cs_1"), IsOk());
  EXPECT_THAT(TakeOfSession("cs_1"), FailsWith(Code::kNotFound));
  EXPECT_THAT(TakeOfSession("cs_2"), IsOk());
  clock_.Advance(10 * kClaimTerm);
  Offer("lic_1");
  EXPECT_THAT(TakeOfSession("cs_1"), FailsWith(Code::kNotFound));
}

TEST_P(ClaimTest, AMailHasTheLicenseOrALinkToIt) {
  Shop shop;
  shop.public_url = "https://api.example.com";
  license::License license;
  license.id = "lic_1";
  license.email = "ann@example.com";
  const auto give = [&] {
    return database_->WriteNow([&](db::Tx& tx) {
      return GiveByMail(tx, shop, license, "the.license.text", clock_.Now(), rng_);
    });
  };
  const auto text = give();
  ASSERT_THAT(text, IsOk());
  EXPECT_EQ(text->license, "the.license.text");
  EXPECT_EQ(text->claim_url, "");
  shop.claim_links = true;
  const auto link = give();
  ASSERT_THAT(link, IsOk());
  EXPECT_EQ(link->license, "");
  const std::string before = "https://api.example.com/billing/claim?token=";
  ASSERT_TRUE(link->claim_url.starts_with(before));
  EXPECT_EQ(Take(link->claim_url.substr(before.size())).value_or(""), "lic_1");
}

INSTANTIATE_TEST_SUITE_P(Engines, ClaimTest, ::testing::ValuesIn(pontage::testing::EnginesHere()),
                         pontage::testing::EngineName);

}  // namespace
}  // namespace pontage::sales
