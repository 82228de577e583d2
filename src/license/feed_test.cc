// What the issuer says later of its licenses, and whether what is heard of it may be believed.
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "crypto/jwt.h"
#include "license/entitlements.h"
#include "license/feed_document.h"
#include "license/samples_test.h"
#include "testing/expect.h"

namespace pontage::license {
namespace {

using pontage::testing::FailsWith;
using pontage::testing::IsOk;

TEST(EntitlementsTest, TheLaterLineCountsAndOlderOnesStay) {
  auto words = std::make_shared<const Entitlements>();
  EXPECT_FALSE(words->Find(kId));
  std::vector<std::string> ids;
  std::vector<FeedEntry> lines;
  // More than are kept apart from the base, ids of ours and of others.
  for (int64_t i = 1; i <= 10'000; ++i) {
    const std::string id =
        i % 2 == 0 ? "other-" + std::to_string(i)
                   : "lic_" + std::string(28, 'a') + std::to_string(10'000 + i).substr(1);
    ids.push_back(id);
    lines.push_back(Line(i, id, Status::kRevoked));
    if (lines.size() == 500) {
      words = words->With(lines, kNow);
      lines.clear();
    }
  }
  EXPECT_EQ(words->seq(), 10'000);
  EXPECT_EQ(words->hash(), "h10000");
  EXPECT_EQ(words->size(), 10'000u);
  for (const std::string& id : ids) {
    ASSERT_TRUE(words->Find(id)) << id;
    EXPECT_EQ(*words->Find(id), Line(1, id, Status::kRevoked).word);
  }
  const std::vector<FeedEntry> later = {Line(10'001, ids[3], Status::kSuspended),
                                        Line(10'002, ids[3], Status::kActive)};
  const auto next = words->With(later, kNow);
  EXPECT_EQ(next->Find(ids[3])->status, Status::kActive);
  EXPECT_EQ(words->Find(ids[3])->status, Status::kRevoked) << "whoever has the old ones keeps them";
  FeedEntry reissued = Line(10'003, ids[4], Status::kActive);
  reissued.word.old_until = kNow + kDay;
  const auto calmly = next->With(std::vector{reissued}, kNow);
  EXPECT_EQ(calmly->Find(ids[4])->old_until, kNow + kDay);
  EXPECT_EQ(calmly->Find(ids[5])->old_until, UnixMs());
  const auto at_once = calmly->With(std::vector{Line(10'004, ids[4], Status::kActive)}, kNow);
  EXPECT_EQ(at_once->Find(ids[4])->old_until, UnixMs());
  const auto the_day_after =
      calmly->With(std::vector{Line(10'004, ids[5], Status::kActive)}, kNow + kDay);
  EXPECT_EQ(the_day_after->Find(ids[4])->old_until, UnixMs()) << "nobody asks for it any more";
  // As many at once as become part of the base.
  for (int64_t i = 0; i < 5'000; ++i) {
    lines.push_back(Line(20'000 + i, ids[static_cast<size_t>(i)], Status::kActive));
  }
  const auto merged = next->With(lines, kNow);
  EXPECT_EQ(merged->size(), 10'000u);
  for (size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(merged->Find(ids[i])->status, i < 5'000 ? Status::kActive : Status::kRevoked) << i;
  }
  EXPECT_FALSE(merged->Find("lic_" + std::string(32, '0')));
}

// A word that a newer release says is nothing that an older one may open by; and nothing that
// breaks its chain: the feed goes on behind it.
TEST(FeedTest, AnUnknownStatusOfANewerIssuerShutsAndDoesNotBreakTheChain) {
  FeedDocument document;
  document.issuer = "me";
  document.to = 2;
  document.issued = kNow;
  std::string before;
  for (const auto& [seq, status] :
       {std::pair<int64_t, const char*>{1, "on_probation"}, {2, "active"}}) {
    FeedEntry entry;
    entry.seq = seq;
    entry.license = kId;
    entry.word.expires = kNow + kDay;
    SetStatusWord(entry, status);
    before = entry.hash = FeedHash(before, entry);
    document.entries.push_back(entry);
  }
  document.hash = before;
  const auto back = ReadFeedDocument(ToJson(document));
  ASSERT_THAT(back, IsOk());
  EXPECT_THAT(GoesOn({}, *back), IsOk());
  EXPECT_EQ(back->entries[0].word.status, Status::kSuspended);
  EXPECT_EQ(StatusWord(back->entries[0]), "on_probation");
  EXPECT_EQ(back->entries[1].word.status, Status::kActive);
  FeedDocument changed = *back;
  SetStatusWord(changed.entries[0], "suspended");
  EXPECT_THAT(GoesOn({}, changed), FailsWith(Code::kBadRequest));
}

// A feed's lines 1 to `last`, of which a gateway has those up to `from`.
FeedDocument FeedUpTo(int64_t from, int64_t last) {
  FeedDocument document;
  document.issuer = "https://api.example.com";
  document.issued = kNow;
  document.from = from;
  document.to = last;
  std::string hash;
  for (int64_t seq = 1; seq <= last; ++seq) {
    FeedEntry entry = Line(seq, "lic_" + std::to_string(seq), Status::kRevoked);
    hash = entry.hash = FeedHash(hash, entry);
    if (seq == from) document.prev_hash = hash;
    if (seq > from) document.entries.push_back(entry);
  }
  document.hash = hash;
  return document;
}

TEST(FeedTest, Billing24WhatDoesNotGoOnWhereItEndedIsRefused) {
  const FeedDocument known = FeedUpTo(0, 3);
  const FeedHead have{.seq = 3, .hash = known.hash};
  const FeedDocument next = FeedUpTo(3, 6);
  ASSERT_THAT(GoesOn(have, next), IsOk());
  ASSERT_THAT(GoesOn({}, known), IsOk());
  const auto with = [&next](const std::function<void(FeedDocument&)>& change) {
    FeedDocument changed = next;
    change(changed);
    return changed;
  };
  const auto snapshot = [](int64_t last) {
    FeedDocument whole = FeedUpTo(0, last);
    whole.snapshot = true;
    return whole;
  };
  EXPECT_THAT(GoesOn(have, snapshot(4)), IsOk());
  const struct {
    const char* what;
    FeedDocument document;
  } cases[] = {
      {.what = "rolled back", .document = FeedUpTo(2, 5)},
      {.what = "rolled back to a snapshot", .document = snapshot(2)},
      {.what = "another past", .document = with([](auto& d) { d.prev_hash[0] ^= 1; })},
      {.what = "a snapshot of another past",
       .document =
           [&] {
             FeedDocument other = snapshot(3);
             other.hash[0] ^= 1;
             return other;
           }()},
      {.what = "a forged status",
       .document = with([](auto& d) { d.entries[1].word.status = Status::kActive; })},
      {.what = "a forged license", .document = with([](auto& d) { d.entries[0].license += "x"; })},
      {.what = "a forged end",
       .document = with([](auto& d) { d.entries[2].word.expires = kNow + kDay; })},
      {.what = "a forged overlap",
       .document = with([](auto& d) { d.entries[2].word.old_until = kNow + kDay; })},
      {.what = "reordered",
       .document = with([](auto& d) { std::swap(d.entries[0], d.entries[1]); })},
      {.what = "a line is missing",
       .document = with([](auto& d) { d.entries.erase(d.entries.begin() + 1); })},
      {.what = "cut off", .document = with([](auto& d) { d.entries.pop_back(); })},
      {.what = "a line twice",
       .document = with([](auto& d) { d.entries.push_back(d.entries.back()); })},
  };
  for (const auto& [what, document] : cases) EXPECT_FALSE(GoesOn(have, document)) << what;
}

TEST(FeedTest, Billing24WhatItsIssuerDidNotSignIsRefused) {
  const Keys keys;
  const std::string good = keys.issuer.Sign(kFeedType, codec::ToString(ToJson(FeedUpTo(0, 3))));
  const auto verifier = keys.verifier();
  ASSERT_THAT(verifier->ReadFeed(good, kNow), IsOk());
  for (size_t at = 0; at < good.size(); at += 7) {
    std::string changed = good;
    changed[at] = changed[at] == 'A' ? 'B' : 'A';
    if (changed != good) EXPECT_FALSE(verifier->ReadFeed(changed, kNow)) << at;
    EXPECT_FALSE(verifier->ReadFeed(good.substr(0, at), kNow)) << at;
  }
  SeededRng rng(9);
  const Issuer other(crypto::Ed25519Key::Generate(rng));
  EXPECT_FALSE(
      verifier->ReadFeed(other.Sign(kFeedType, codec::ToString(ToJson(FeedUpTo(0, 3)))), kNow));
  FeedDocument elsewhere = FeedUpTo(0, 3);
  elsewhere.issuer = "https://evil.example.com";
  EXPECT_FALSE(
      verifier->ReadFeed(keys.issuer.Sign(kFeedType, codec::ToString(ToJson(elsewhere))), kNow));
  EXPECT_FALSE(verifier->ReadFeed(
      keys.issuer.Sign(kLicenseType, codec::ToString(ToJson(FeedUpTo(0, 3)))), kNow));
}

// Checklist 22: nothing else runs, and nobody is asked.
}  // namespace
}  // namespace pontage::license
