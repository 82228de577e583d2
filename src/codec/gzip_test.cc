#include "codec/gzip.h"

#include <string>

#include <gtest/gtest.h>

#include "testing/expect.h"

namespace pontage::codec {
namespace {

using pontage::testing::FailsWith;
using pontage::testing::IsOk;

TEST(GzipTest, ComesBackWholeOrNotAtAll) {
  std::string text;
  for (int i = 0; i < 50'000; ++i) text += std::to_string(i) + ',';
  for (const std::string& one : {std::string(), std::string("a"), text}) {
    const std::string packed = Gzip(one);
    const auto back = Gunzip(packed, text.size());
    ASSERT_THAT(back, IsOk());
    EXPECT_EQ(*back, one);
    EXPECT_THAT(Gunzip(packed.substr(0, packed.size() - 1), text.size()),
                FailsWith(Code::kBadRequest));
    EXPECT_THAT(Gunzip(packed + "x", text.size()), FailsWith(Code::kBadRequest));
  }
  EXPECT_THAT(Gunzip("no gzip at all", 100), FailsWith(Code::kBadRequest));
}

TEST(GzipTest, ABombIsCutOff) {
  const std::string packed = Gzip(std::string(8 << 20, 'a'));
  EXPECT_LT(packed.size(), 16u << 10);
  EXPECT_THAT(Gunzip(packed, (8 << 20) - 1), FailsWith(Code::kBadRequest));
  EXPECT_THAT(Gunzip(packed, 8 << 20), IsOk());
}

}  // namespace
}  // namespace pontage::codec
