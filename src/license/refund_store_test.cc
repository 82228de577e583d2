#include "license/refund_store.h"

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

using pontage::testing::IsOk;

class RefundStoreTest : public ::testing::TestWithParam<pontage::testing::EngineKind> {
 protected:
  RefundStoreTest() : engine_(GetParam()), database_(engine_.OpenMigrated()) {}

  static Refund Of(const std::string& id) {
    return {.id = id,
            .command = "cmd_" + id,
            .license = "lic_" + id,
            .purchase = "sub_" + id,
            .amount = 5};
  }

  pontage::testing::Engine engine_;
  std::unique_ptr<db::Database> database_;
};

INSTANTIATE_TEST_SUITE_P(Engines, RefundStoreTest,
                         ::testing::ValuesIn(pontage::testing::EnginesHere()),
                         pontage::testing::EngineName);

// Two nodes of one store, and a limit of a day.
TEST_P(RefundStoreTest, TwoWhoSeeRoomForOneDoNotBothTakeIt) {
  const auto other = engine_.Open();
  constexpr int kEach = 30;
  constexpr int64_t kMost = 25;
  const auto order = [](db::Database& database, const std::string& who) {
    for (int i = 0; i < kEach; ++i) {
      const Refund one = Of(who + std::to_string(i));
      const auto body = [&](db::Tx& tx) -> Result<> {
        PTG_TRY(const RefundTotals day, RefundsSince(tx, UnixMs(0), ""));
        if (day.count >= kMost) return {};
        return RequestRefund(tx, one, UnixMs(10));
      };
      EXPECT_THAT(database.WriteNow(body), IsOk());
    }
  };
  {
    std::vector<std::jthread> people;
    people.emplace_back([&] { order(*database_, "a"); });
    people.emplace_back([&] { order(*other, "b"); });
  }
  const auto count = [](db::Tx& tx) { return RefundsSince(tx, UnixMs(0), ""); };
  EXPECT_EQ(database_->WriteNow(count).value_or(RefundTotals()).count, kMost);
}

}  // namespace
}  // namespace pontage::license
