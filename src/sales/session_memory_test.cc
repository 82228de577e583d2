#include "sales/session_memory.h"

#include <optional>
#include <string>

#include <gtest/gtest.h>

namespace pontage::sales {
namespace {

constexpr SteadyMs kNow(1'000);

TEST(SessionMemoryTest, SaysWhatWasSaidForAWhile) {
  SessionMemory memory;
  EXPECT_EQ(memory.Find("cs_1", kNow), std::nullopt);
  memory.Note("cs_1", "sub_1", kNow);
  memory.Note("cs_none", "", kNow);
  EXPECT_EQ(memory.Find("cs_1", kNow), "sub_1");
  EXPECT_EQ(memory.Find("cs_none", kNow), "");
  EXPECT_EQ(memory.Find("cs_none", kNow + SessionMemory::kUnknown), std::nullopt);
  EXPECT_EQ(memory.Find("cs_1", kNow + SessionMemory::kUnknown), "sub_1");
  EXPECT_EQ(memory.Find("cs_1", kNow + SessionMemory::kKnown), std::nullopt);
  memory.Note("cs_none", "sub_2", kNow);
  EXPECT_EQ(memory.Find("cs_none", kNow), "sub_2");
}

TEST(SessionMemoryTest, ForgetsTheFirstOfTooMany) {
  SessionMemory memory(3);
  for (int i = 0; i < 100; ++i) memory.Note("cs_" + std::to_string(i % 5), "sub", kNow);
  for (const char* gone : {"cs_0", "cs_1"}) EXPECT_EQ(memory.Find(gone, kNow), std::nullopt);
  for (const char* kept : {"cs_2", "cs_3", "cs_4"}) EXPECT_EQ(memory.Find(kept, kNow), "sub");
}

}  // namespace
}  // namespace pontage::sales
