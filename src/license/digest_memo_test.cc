#include "license/digest_memo.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "codec/hex.h"

namespace pontage::license {
namespace {

crypto::Hash32 DigestOf(std::string_view text) { return crypto::Sha256(codec::AsBytes(text)); }

// As often as it takes; how often that was.
int Keep(DigestMemo& memo, std::string_view text) {
  int times = 0;
  while (times < 100 && memo.Find(text) == nullptr) {
    memo.MayKeep(text, DigestOf(text));
    ++times;
  }
  return times;
}

TEST(DigestMemoTest, IsAskedForAWholeText) {
  DigestMemo memo;
  const std::string text = "eyJhbGciOiJFZERTQSJ9.eyJqdGkiOiJsaWNfMSJ9.c2lnbmF0dXJl";
  EXPECT_EQ(memo.Find(text), nullptr);
  EXPECT_LT(Keep(memo, text), 50);
  ASSERT_NE(memo.Find(text), nullptr);
  EXPECT_EQ(*memo.Find(text), DigestOf(text));
  // Of the same end, by which a place is found.
  for (size_t i = 0; i + 8 < text.size(); ++i) {
    std::string other = text;
    other[i] = other[i] == 'A' ? 'B' : 'A';
    EXPECT_EQ(memo.Find(other), nullptr) << i;
  }
  EXPECT_EQ(memo.Find("A" + text), nullptr);
  EXPECT_EQ(memo.Find(text.substr(1)), nullptr);
  for (const std::string_view none : {"", "c2lnbmF", "c2lnbmF0dXJl"}) {
    EXPECT_EQ(memo.Find(none), nullptr) << none;
  }
}

TEST(DigestMemoTest, ACrowdTakesFewPlacesAndSpreads) {
  DigestMemo memo;
  std::vector<std::string> texts;
  for (int i = 0; i < 1'000; ++i) {
    texts.push_back("license." + codec::ToHex(DigestOf(std::to_string(i))));
    memo.MayKeep(texts.back(), DigestOf(texts.back()));
  }
  const auto is_kept = [&memo](const std::string& text) { return memo.Find(text) != nullptr; };
  const auto few = std::ranges::count_if(texts, is_kept);
  EXPECT_GT(few, 20);
  EXPECT_LT(few, 80);
  for (const std::string& text : texts) Keep(memo, text);
  EXPECT_GT(std::ranges::count_if(texts, is_kept), 100);
}

// Whose turns come in step with the choice, too.
TEST(DigestMemoTest, OfSoManyWhoComeInTurnAllAreKept) {
  for (size_t many = 2; many <= 32; ++many) {
    DigestMemo memo;
    std::vector<std::string> texts;
    for (size_t i = 0; i < many; ++i)
      texts.push_back("license." + codec::ToHex(DigestOf(std::to_string(i))));
    size_t hits = 0;
    for (int turn = 0; turn < 200; ++turn) {
      for (const std::string& text : texts) {
        if (memo.Find(text) != nullptr) {
          ++hits;
        } else {
          memo.MayKeep(text, DigestOf(text));
        }
      }
    }
    EXPECT_GT(hits, 120 * many) << many;
  }
}

}  // namespace
}  // namespace pontage::license
