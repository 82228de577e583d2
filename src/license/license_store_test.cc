#include "license/license_store.h"

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/try.h"
#include "testing/engines.h"
#include "testing/expect.h"

namespace pontage::license {
namespace {

using pontage::testing::FailsWith;
using pontage::testing::IsOk;

class LicenseStoreTest : public ::testing::TestWithParam<pontage::testing::EngineKind> {
 protected:
  LicenseStoreTest() : engine_(GetParam()), database_(engine_.OpenMigrated()) {}

  template <typename F>
  auto Do(F body) {
    return database_->WriteNow(body);
  }
  bool Insert(const License& l, int64_t at = 10) {
    const auto done = Do([&](db::Tx& tx) { return InsertLicense(tx, l, UnixMs(at)); });
    EXPECT_THAT(done, IsOk());
    return done.value_or(false);
  }
  Result<bool> Update(const License& l, int64_t at = 20) {
    return Do([&](db::Tx& tx) { return UpdateLicense(tx, l, UnixMs(at)); });
  }
  License Get(const std::string& id) {
    const auto found = Do([&](db::Tx& tx) { return FindLicense(tx, id); });
    EXPECT_TRUE(found && *found) << id;
    return found && *found ? **found : License{};
  }
  std::vector<FeedEntry> Feed(int64_t since = 0) {
    const auto lines = Do([&](db::Tx& tx) { return ReadFeed(tx, since, 100); });
    EXPECT_THAT(lines, IsOk());
    return lines.value_or(std::vector<FeedEntry>());
  }

  pontage::testing::Engine engine_;
  std::unique_ptr<db::Database> database_;
};

INSTANTIATE_TEST_SUITE_P(Engines, LicenseStoreTest,
                         ::testing::ValuesIn(pontage::testing::EnginesHere()),
                         pontage::testing::EngineName);

License Sample(const std::string& id);

// Two nodes of one store: what is read to be written is not what somebody else is just changing.
TEST_P(LicenseStoreTest, WhoReadsToWriteUndoesNobody) {
  ASSERT_TRUE(Insert(Sample("lic_1")));
  const int64_t before = Get("lic_1").generation;
  const auto other = engine_.Open();
  constexpr int kEach = 40;
  const auto write = [](db::Database& database, bool by_id) {
    const std::string origin = Sample("lic_1").origin;
    for (int i = 0; i < kEach; ++i) {
      const auto body = [&](db::Tx& tx) -> Result<bool> {
        PTG_TRY(std::optional<License> l,
                by_id ? FindLicenseToWrite(tx, "lic_1") : FindLicenseByOriginToWrite(tx, origin));
        ++l->generation;
        return UpdateLicense(tx, *l, UnixMs(20));
      };
      EXPECT_THAT(database.WriteNow(body), IsOk());
    }
  };
  {
    std::vector<std::jthread> writers;
    for (const bool by_id : {true, false}) {
      writers.emplace_back([&, by_id] { write(*database_, by_id); });
      writers.emplace_back([&, by_id] { write(*other, by_id); });
    }
  }
  EXPECT_EQ(Get("lic_1").generation, before + 4 * kEach);
}

License Sample(const std::string& id) {
  License l;
  l.id = id;
  l.origin = "sub:sub_1:si_" + id;
  l.customer = "cus_1";
  l.email = "ann@example.com";
  l.plan = "pro";
  l.products = {"yield", "docs"};
  l.tier = "professional";
  l.limits = {.monthly = 1'000, .rpm = 60};
  l.subscription = "sub_1";
  l.paid_through = UnixMs(1'000'000);
  l.expires = UnixMs(2'000'000);
  l.issued = UnixMs(500'000);
  l.signed_until = UnixMs(2'000'000);
  return l;
}

TEST_P(LicenseStoreTest, WhoEverHadALicenseOfAPlanIsKnownByCustomerOrAddress) {
  License l = Sample("lic_1");
  l.status = Status::kExpired;
  ASSERT_TRUE(Insert(l));
  License nobodys = Sample("lic_2");
  nobodys.origin = "operator:lic_2";
  nobodys.customer.clear();
  nobodys.email.clear();
  nobodys.plan = "team";
  nobodys.subscription.clear();
  ASSERT_TRUE(Insert(nobodys));
  const auto had = [&](const char* plan, const char* customer, const char* email,
                       const char* besides = "") {
    const auto done = Do([&](db::Tx& tx) { return EverHad(tx, plan, customer, email, besides); });
    EXPECT_THAT(done, IsOk());
    return done.value_or(false);
  };
  EXPECT_TRUE(had("pro", "cus_1", ""));
  EXPECT_TRUE(had("pro", "cus_2", "ann@example.com"));
  EXPECT_FALSE(had("pro", "cus_2", "bob@example.com"));
  EXPECT_FALSE(had("team", "cus_1", "ann@example.com"));
  EXPECT_FALSE(had("team", "", "")) << "of nobody";
  EXPECT_FALSE(had("pro", "cus_1", "ann@example.com", "sub_1"));
  EXPECT_TRUE(had("pro", "cus_1", "ann@example.com", "sub_2"));
  for (const char* plan : {"team", "large", "team"}) {
    l.plan = plan;
    ASSERT_THAT(Update(l), IsOk());
  }
  EXPECT_TRUE(had("pro", "cus_1", "")) << "before another";
  EXPECT_TRUE(had("large", "", "ann@example.com"));
  EXPECT_TRUE(had("team", "cus_1", ""));
  EXPECT_FALSE(had("small", "cus_1", "ann@example.com"));
  EXPECT_FALSE(had("pro", "cus_2", "bob@example.com"));
  EXPECT_FALSE(had("pro", "cus_1", "ann@example.com", "sub_1"));
}

TEST(LicenseTest, ATextIsReplacedByANewerOneUnlessAnOverlapRuns) {
  License l = Sample("lic_1");
  const UnixMs now(600'000);
  EXPECT_FALSE(IsReplaced(l, 1, now));
  Replace(l, now, Millis(10'000));
  EXPECT_FALSE(IsReplaced(l, 2, now));
  EXPECT_FALSE(IsReplaced(l, 1, now));
  EXPECT_TRUE(IsReplaced(l, 1, now + Millis(10'000)));
  Replace(l, now, Millis(10'000));
  EXPECT_TRUE(IsReplaced(l, 1, now)) << "only the one before the newest is let on";
  EXPECT_FALSE(IsReplaced(l, 2, now));
  Replace(l, now, Millis(0));
  EXPECT_TRUE(IsReplaced(l, 3, now));
  EXPECT_FALSE(IsReplaced(l, 4, now));
}

TEST_P(LicenseStoreTest, ALicenseComesBackAsItWasWritten) {
  const License l = Sample("lic_1");
  ASSERT_TRUE(Insert(l));
  const License got = Get("lic_1");
  EXPECT_EQ(ClaimsOf(got, "me"), ClaimsOf(l, "me"));
  EXPECT_EQ(got.origin, l.origin);
  EXPECT_EQ(got.email, l.email);
  EXPECT_EQ(got.status, Status::kActive);
  EXPECT_EQ(got.paid_through, l.paid_through);
  EXPECT_EQ(got.expires, l.expires);
  EXPECT_EQ(got.created, UnixMs(10));
  const auto by_origin = Do([&](db::Tx& tx) { return FindLicenseByOrigin(tx, l.origin); });
  ASSERT_TRUE(by_origin && *by_origin);
  EXPECT_EQ((*by_origin)->id, "lic_1");
}

// Whatever is replayed: what was bought once is one license.
TEST_P(LicenseStoreTest, AnOriginHasOneLicense) {
  ASSERT_TRUE(Insert(Sample("lic_1")));
  License again = Sample("lic_2");
  again.origin = Sample("lic_1").origin;
  EXPECT_FALSE(Insert(again));
  const auto all = Do([&](db::Tx& tx) { return ListLicenses(tx, {.customer = "cus_1"}); });
  ASSERT_THAT(all, IsOk());
  EXPECT_EQ(all->size(), 1u);
}

TEST_P(LicenseStoreTest, WhatATokenSaysItselfIsNoLineOfTheFeed) {
  ASSERT_TRUE(Insert(Sample("lic_1")));
  EXPECT_TRUE(Feed().empty());
  License l = Get("lic_1");
  l.email = "other@example.com";
  ASSERT_THAT(Update(l), IsOk());
  EXPECT_TRUE(Feed().empty()) << "a gateway has no use for it";
  l.expires = UnixMs(3'000'000);
  ASSERT_THAT(Update(l), IsOk());
  l.status = Status::kSuspended;
  ASSERT_THAT(Update(l), IsOk());
  const std::vector<FeedEntry> lines = Feed();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].seq, 1);
  EXPECT_EQ(lines[0].word.expires, UnixMs(3'000'000));
  EXPECT_EQ(lines[1].word.status, Status::kSuspended);
  EXPECT_EQ(Feed(1).size(), 1u);
  // Each bound to the one before it.
  EXPECT_EQ(lines[0].hash, FeedHash("", lines[0]));
  EXPECT_EQ(lines[1].hash, FeedHash(lines[0].hash, lines[1]));
  const auto head = Do([](db::Tx& tx) { return ReadFeedHead(tx); });
  ASSERT_THAT(head, IsOk());
  EXPECT_EQ(head->seq, 2);
  EXPECT_EQ(head->hash, lines[1].hash);
}

TEST_P(LicenseStoreTest, WhatTheOperatorRevokedStaysRevoked) {
  ASSERT_TRUE(Insert(Sample("lic_1")));
  License revoked = Get("lic_1");
  revoked.status = Status::kRevoked;
  revoked.revoked_by = "operator";
  ASSERT_THAT(Update(revoked), IsOk());
  License paid = revoked;
  paid.status = Status::kActive;
  paid.revoked_by = "";
  const auto changed = Update(paid);
  ASSERT_THAT(changed, IsOk());
  EXPECT_FALSE(*changed);
  EXPECT_EQ(Get("lic_1").status, Status::kRevoked);
  EXPECT_EQ(Feed().size(), 1u);
  // By the payment provider's word it may come back.
  ASSERT_TRUE(Insert(Sample("lic_2")));
  License refunded = Get("lic_2");
  refunded.status = Status::kRevoked;
  refunded.revoked_by = "payment";
  ASSERT_THAT(Update(refunded), IsOk());
  refunded.status = Status::kActive;
  refunded.revoked_by = "";
  EXPECT_EQ(Update(refunded).value_or(false), true);
}

TEST_P(LicenseStoreTest, FindsByWhomAndFailsForNobody) {
  ASSERT_TRUE(Insert(Sample("lic_1"), 1));
  License other = Sample("lic_2");
  other.customer = "cus_2";
  other.email = "bob@example.com";
  other.subscription = "";
  ASSERT_TRUE(Insert(other, 2));
  const auto list = [&](const LicenseFilter& filter) {
    const auto found = Do([&](db::Tx& tx) { return ListLicenses(tx, filter); });
    EXPECT_THAT(found, IsOk());
    std::string ids;
    for (const License& l : found.value_or(std::vector<License>())) ids += l.id + " ";
    return ids;
  };
  EXPECT_EQ(list({}), "lic_2 lic_1 ");
  EXPECT_EQ(list({.customer = "cus_2"}), "lic_2 ");
  EXPECT_EQ(list({.email = "ann@example.com"}), "lic_1 ");
  EXPECT_EQ(list({.subscription = "sub_1"}), "lic_1 ");
  EXPECT_EQ(list({.customer = "cus_1", .email = "bob@example.com"}), "");
  EXPECT_EQ(list({.limit = 1}), "lic_2 ");
  EXPECT_THAT(Update(Sample("lic_9")), FailsWith(Code::kNotFound));
  const auto none = Do([](db::Tx& tx) { return FindLicense(tx, "lic_9"); });
  ASSERT_THAT(none, IsOk());
  EXPECT_FALSE(*none);
}

// What `issuer` has said up to line `last`: his licenses are revoked, each in a line of its own.
FeedDocument SaidBy(const std::string& issuer, int64_t last) {
  FeedDocument said;
  said.issuer = issuer;
  said.snapshot = true;
  said.to = last;
  said.hash = issuer + std::to_string(last);
  said.issued = UnixMs(1'000);
  for (int64_t seq = 1; seq <= last; ++seq) {
    FeedEntry line;
    line.seq = seq;
    line.license = issuer + "_lic_" + std::to_string(seq);
    line.word.status = Status::kRevoked;
    said.entries.push_back(line);
  }
  return said;
}

TEST_P(LicenseStoreTest, AnIssuerWhoTakesAnothersPlaceIsCopiedFromHisFirstLine) {
  const auto write = [&](const FeedHead& have, const FeedDocument& said) {
    return Do([&](db::Tx& tx) { return WriteFeedCopy(tx, have, said); });
  };
  const auto copy = [&](const std::string& issuer) {
    const auto read = Do([&](db::Tx& tx) { return ReadFeedCopy(tx, issuer); });
    EXPECT_THAT(read, IsOk());
    return read.value_or(FeedCopy{});
  };
  const auto words = [&] {
    const auto lines = Do([](db::Tx& tx) { return ReadCopiedWords(tx, 0, 100); });
    EXPECT_THAT(lines, IsOk());
    std::string ids;
    for (const FeedEntry& line : lines.value_or(std::vector<FeedEntry>())) {
      ids += line.license + " ";
    }
    return ids;
  };
  ASSERT_THAT(write({}, SaidBy("old", 3)), IsOk());
  EXPECT_TRUE(copy("old").begun && !copy("old").others);
  EXPECT_EQ(copy("old").head.seq, 3);
  EXPECT_TRUE(!copy("new").begun && copy("new").others);
  EXPECT_EQ(copy("new").head.seq, 0);
  ASSERT_THAT(write({}, SaidBy("new", 1)), IsOk());
  EXPECT_EQ(words(), "new_lic_1 ");
  EXPECT_TRUE(copy("new").begun && !copy("new").others);
  EXPECT_FALSE(copy("old").begun);
  // Who still takes the older one for his issuer has nothing to go on from.
  EXPECT_THAT(write({.seq = 3, .hash = "old3"}, SaidBy("old", 4)), FailsWith(Code::kConflict));
  EXPECT_EQ(words(), "new_lic_1 ");

  // As a release before this one left a store: nobody knows whose the words are.
  constexpr db::Statement kOther{"test.other",
                                 "INSERT INTO entitlement_head (issuer, seq, hash, as_of_ms)"
                                 " VALUES ('old', 3, 'old3', 1000)"};
  const auto beside = Do([&](db::Tx& tx) -> Result<> {
    PTG_RUN(tx.Run(kOther));
    return {};
  });
  ASSERT_THAT(beside, IsOk());
  EXPECT_TRUE(copy("new").begun && copy("new").others);
  EXPECT_EQ(copy("new").head.seq, 0);
  EXPECT_EQ(copy("new").as_of, UnixMs(1'000));
  ASSERT_THAT(write({}, SaidBy("new", 2)), IsOk());
  EXPECT_EQ(words(), "new_lic_1 new_lic_2 ");
  EXPECT_FALSE(copy("new").others);
}

TEST(NormalEmailTest, HasOneSpelling) {
  EXPECT_EQ(NormalEmail(" Ann@Example.COM\n"), "ann@example.com");
  EXPECT_EQ(NormalEmail(""), "");
  EXPECT_EQ(NormalEmail("  "), "");
}

}  // namespace
}  // namespace pontage::license
