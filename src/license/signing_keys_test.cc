// Keys that sign licenses: when each does, until when it is believed, and what a gateway takes
// over.
#include "license/signing_keys.h"

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "license/issuer.h"
#include "license/license_store.h"
#include "testing/engines.h"
#include "testing/expect.h"

namespace pontage::license {
namespace {

using pontage::testing::FailsWith;
using pontage::testing::IsOk;

constexpr Millis kDay{86'400'000};
constexpr UnixMs kNow(1'795'000'000'000);

struct Pair {
  explicit Pair(uint64_t seed) : rng(seed), issuer(crypto::Ed25519Key::Generate(rng)) {}
  std::string kid() const { return crypto::Thumbprint(issuer.public_key()); }
  SigningKey Row(UnixMs from) const {
    return {.kid = kid(),
            .key = issuer.public_key(),
            .created = from,
            .signs_from = from,
            .not_after = std::nullopt,
            .revocation = {},
            .revoked_at = std::nullopt};
  }
  crypto::Jwk jwk() const {
    return {.kid = kid(), .key = issuer.public_key(), .not_after = std::nullopt};
  }
  std::string Against(std::string_view issuer_name, const std::string& name) const {
    return issuer.Sign(kRevocationType, RevocationText(issuer_name, name, kNow));
  }
  SeededRng rng;
  Issuer issuer;
};

TEST(SigningKeysTest, AKeyIsStagedSignsVerifiesAndRetires) {
  std::vector<SigningKey> all = {Pair(1).Row(kNow), Pair(2).Row(kNow + kDay)};
  EXPECT_EQ(StateOf(all, all[0], kNow), KeyState::kSigning);
  EXPECT_EQ(StateOf(all, all[1], kNow), KeyState::kStaged);
  EXPECT_EQ(SignerOf(all, kNow)->kid, all[0].kid);
  EXPECT_EQ(DocumentOf(all, kNow).keys.size(), 2u) << "published before it signs";
  const UnixMs later = kNow + kDay;
  EXPECT_EQ(StateOf(all, all[0], later), KeyState::kVerifyOnly);
  EXPECT_EQ(SignerOf(all, later)->kid, all[1].kid);
  all[0].not_after = later + 30 * kDay;
  EXPECT_EQ(DocumentOf(all, later).keys.front().not_after, all[0].not_after);
  EXPECT_EQ(StateOf(all, all[0], later + 30 * kDay), KeyState::kRetired);
  EXPECT_EQ(DocumentOf(all, later + 30 * kDay).keys.size(), 1u);
}

TEST(SigningKeysTest, ADocumentComesBackAsItWasWritten) {
  const Pair old(1);
  std::vector<SigningKey> all = {old.Row(kNow), Pair(2).Row(kNow + kDay)};
  all[0].revocation = old.Against("me", old.kid());
  all[0].revoked_at = kNow + kDay;
  const KeyDocument document = DocumentOf(all, kNow + kDay);
  ASSERT_EQ(document.revocations.size(), 1u);
  const auto back = ReadKeyDocument(codec::ToString(ToJson(document)));
  ASSERT_THAT(back, IsOk());
  EXPECT_EQ(*back, document);
  EXPECT_EQ(DigestOf(*back), DigestOf(document));
}

TEST(TakeOverTest, ASetMayNotDropAKeyBeforeItsAnnouncedEnd) {
  const Pair old(1);
  const Pair fresh(2);
  const std::vector<KnownKey> have = {{.jwk = old.jwk()}};
  const KeyDocument only_fresh{.keys = {fresh.jwk()}, .revocations = {}};
  EXPECT_THAT(TakeOver(have, only_fresh, "me", kNow), FailsWith(Code::kConflict));
  KeyDocument both{.keys = {old.jwk(), fresh.jwk()}, .revocations = {}};
  both.keys[0].not_after = kNow + kDay;
  const auto told = TakeOver(have, both, "me", kNow);
  ASSERT_THAT(told, IsOk());
  EXPECT_EQ(Believed(*told).size(), 2u);
  EXPECT_THAT(TakeOver(*told, only_fresh, "me", kNow + kDay - Millis(1)),
              FailsWith(Code::kConflict));
  const auto over = TakeOver(*told, only_fresh, "me", kNow + kDay);
  ASSERT_THAT(over, IsOk());
  EXPECT_EQ(Believed(*over).size(), 1u);
}

TEST(TakeOverTest, AnAnnouncedEndMovesOnlyFurtherOff) {
  const Pair old(1);
  KeyDocument said{.keys = {old.jwk()}, .revocations = {}};
  said.keys[0].not_after = kNow + 2 * kDay;
  const auto first = TakeOver({{.jwk = old.jwk()}}, said, "me", kNow);
  ASSERT_THAT(first, IsOk());
  said.keys[0].not_after = kNow + kDay;
  EXPECT_EQ(TakeOver(*first, said, "me", kNow)->front().jwk.not_after, kNow + 2 * kDay);
  said.keys[0].not_after = kNow + 3 * kDay;
  EXPECT_EQ(TakeOver(*first, said, "me", kNow)->front().jwk.not_after, kNow + 3 * kDay);
}

TEST(TakeOverTest, ANameCannotBeGivenToAnotherKey) {
  const Pair old(1);
  KeyDocument forged{.keys = {Pair(2).jwk()}, .revocations = {}};
  forged.keys[0].kid = old.kid();
  EXPECT_THAT(TakeOver({{.jwk = old.jwk()}}, forged, "me", kNow), FailsWith(Code::kConflict));
}

TEST(TakeOverTest, AKeyEndsByItsOwnWordAloneAndForEver) {
  const Pair old(1);
  const Pair fresh(2);
  const std::vector<KnownKey> have = {{.jwk = old.jwk()}};
  const auto with = [&](const std::string& word) {
    return TakeOver(have, {.keys = {fresh.jwk()}, .revocations = {word}}, "me", kNow);
  };
  // Another key's, another issuer's, another name's, and none at all.
  EXPECT_THAT(with(fresh.Against("me", old.kid())), FailsWith(Code::kConflict));
  EXPECT_THAT(with(old.Against("you", old.kid())), FailsWith(Code::kConflict));
  EXPECT_THAT(with(old.Against("me", fresh.kid())), FailsWith(Code::kConflict));
  EXPECT_THAT(with("x.y.z"), FailsWith(Code::kConflict));
  const auto ended = with(old.Against("me", old.kid()));
  ASSERT_THAT(ended, IsOk());
  ASSERT_EQ(Believed(*ended).size(), 1u);
  EXPECT_EQ(Believed(*ended).front().kid, fresh.kid());
  const KeyDocument again{.keys = {old.jwk(), fresh.jwk()}, .revocations = {}};
  EXPECT_EQ(Believed(*TakeOver(*ended, again, "me", kNow)).size(), 1u);
}

class SigningKeyStoreTest : public ::testing::TestWithParam<pontage::testing::EngineKind> {
 protected:
  SigningKeyStoreTest() : engine_(GetParam()), database_(engine_.OpenMigrated()) {}
  template <typename F>
  auto Do(F body) {
    return database_->WriteNow(body);
  }
  std::vector<SigningKey> All() {
    return Do([](db::Tx& tx) { return ReadSigningKeys(tx); }).value_or(std::vector<SigningKey>());
  }
  void Issue(const std::string& id, UnixMs at, UnixMs until) {
    License l;
    l.id = l.origin = id;
    l.plan = "pro";
    l.issued = at;
    l.paid_through = l.expires = l.signed_until = until;
    ASSERT_THAT(Do([&](db::Tx& tx) { return InsertLicense(tx, l, at); }), IsOk());
  }
  pontage::testing::Engine engine_;
  std::unique_ptr<db::Database> database_;
};
INSTANTIATE_TEST_SUITE_P(Engines, SigningKeyStoreTest,
                         ::testing::ValuesIn(pontage::testing::EnginesHere()),
                         pontage::testing::EngineName);

TEST_P(SigningKeyStoreTest, TheEndOfAKeyIsThatOfTheLastLicenseUnderItAndMovesWithRenewals) {
  const Pair old(1);
  const Pair fresh(2);
  ASSERT_THAT(Do([&](db::Tx& tx) { return InsertSigningKey(tx, old.Row(kNow)); }), IsOk());
  ASSERT_THAT(Do([&](db::Tx& tx) { return InsertSigningKey(tx, fresh.Row(kNow + kDay)); }), IsOk());
  Issue("lic_1", kNow, kNow + 30 * kDay);
  Issue("lic_2", kNow + 2 * kDay, kNow + 900 * kDay);  // which the new one signed
  const auto announce = [&](UnixMs at) {
    ASSERT_THAT(Do([&](db::Tx& tx) { return AnnounceEnds(tx, at); }), IsOk());
  };
  announce(kNow);
  EXPECT_FALSE(All()[0].not_after) << "it signs still";
  announce(kNow + 2 * kDay);
  EXPECT_EQ(All()[0].not_after, kNow + 37 * kDay);
  auto found = Do([](db::Tx& tx) { return FindLicense(tx, "lic_1"); });
  ASSERT_TRUE(found && *found);
  License renewed = **found;
  renewed.expires = kNow + 60 * kDay;
  ASSERT_THAT(Do([&](db::Tx& tx) { return UpdateLicense(tx, renewed, kNow + 3 * kDay); }), IsOk());
  announce(kNow + 3 * kDay);
  EXPECT_EQ(All()[0].not_after, kNow + 67 * kDay) << "the same text goes on";
  announce(kNow + 60 * kDay);
  EXPECT_EQ(All()[0].not_after, kNow + 67 * kDay);
  EXPECT_EQ(StateOf(All(), All()[0], kNow + 67 * kDay), KeyState::kRetired);
}

TEST_P(SigningKeyStoreTest, ARevokedKeySignsNothingAndItsFollowerDoes) {
  const Pair old(1);
  const Pair fresh(2);
  const auto all = [&](db::Tx& tx) -> Result<> {
    if (auto r = InsertSigningKey(tx, old.Row(kNow)); !r) return r;
    if (auto r = InsertSigningKey(tx, fresh.Row(kNow + kDay)); !r) return r;
    return RevokeSigningKey(tx, old.kid(), old.Against("me", old.kid()), kNow + kDay);
  };
  ASSERT_THAT(Do(all), IsOk());
  const std::vector<SigningKey> books = All();
  EXPECT_EQ(StateOf(books, books[0], kNow + kDay), KeyState::kRetired);
  EXPECT_EQ(SignerOf(books, kNow + kDay)->kid, fresh.kid());
  const auto twice = [&](db::Tx& tx) { return RevokeSigningKey(tx, old.kid(), "x", kNow); };
  EXPECT_THAT(Do(twice), FailsWith(Code::kConflict));
}

TEST_P(SigningKeyStoreTest, WhatAGatewayKnowsComesBack) {
  std::vector<KnownKey> keys = {{.jwk = Pair(1).jwk(), .revoked = true}, {.jwk = Pair(2).jwk()}};
  keys[1].jwk.not_after = kNow;
  std::ranges::sort(keys, {}, [](const KnownKey& k) { return k.jwk.kid; });
  ASSERT_THAT(Do([&](db::Tx& tx) { return WriteKnownKeys(tx, "me", keys); }), IsOk());
  EXPECT_EQ(*Do([](db::Tx& tx) { return ReadKnownKeys(tx, "me"); }), keys);
  keys.pop_back();
  ASSERT_THAT(Do([&](db::Tx& tx) { return WriteKnownKeys(tx, "me", keys); }), IsOk());
  EXPECT_EQ(*Do([](db::Tx& tx) { return ReadKnownKeys(tx, "me"); }), keys);
  EXPECT_TRUE(Do([](db::Tx& tx) { return ReadKnownKeys(tx, "you"); })->empty());
}

}  // namespace
}  // namespace pontage::license
