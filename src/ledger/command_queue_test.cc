#include "ledger/command_queue.h"

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "testing/engines.h"
#include "testing/expect.h"

namespace pontage::ledger {
namespace {

using pontage::testing::FailsWith;
using pontage::testing::IsOk;

Command Sample(const std::string& id, const std::string& key = "k1") {
  Command command;
  command.id = id;
  command.verb = "license.extend";
  command.subject = "lic_1";
  command.payload = R"({"days":3})";
  command.asked = R"({"license":"lic_1","days":3})";
  command.actor = "operator";
  command.request_id = "req_1";
  command.idempotency_key = key;
  return command;
}

class CommandQueueTest : public ::testing::TestWithParam<pontage::testing::EngineKind> {
 protected:
  CommandQueueTest() : engine_(GetParam()), database_(engine_.OpenMigrated()) {}

  template <typename F>
  auto Do(F body) {
    return database_->WriteNow(body);
  }
  Result<Ordered> Order(const Command& command, int64_t at = 10) {
    return Do([&](db::Tx& tx) { return OrderCommand(tx, command, UnixMs(at)); });
  }
  std::vector<Command> Take(int64_t at, int64_t lease = 100) {
    return Do([&](db::Tx& tx) { return TakeCommands(tx, UnixMs(at), Millis(lease), 10); })
        .value_or(std::vector<Command>());
  }
  Command Get(const std::string& id) {
    const auto found = Do([&](db::Tx& tx) { return FindCommand(tx, id); });
    EXPECT_TRUE(found && *found) << id;
    return found && *found ? **found : Command{};
  }
  bool End(const std::string& id, CommandState state, int64_t at = 20) {
    const auto end = [&](db::Tx& tx) {
      return CommandEnded(tx, id, state, R"({"a":1})", "the text", UnixMs(at));
    };
    return Do(end).value_or(false);
  }

  pontage::testing::Engine engine_;
  std::unique_ptr<db::Database> database_;
};

INSTANTIATE_TEST_SUITE_P(Engines, CommandQueueTest,
                         ::testing::ValuesIn(pontage::testing::EnginesHere()),
                         pontage::testing::EngineName);

TEST_P(CommandQueueTest, TheSameKeyIsTheSameThing) {
  const auto first = Order(Sample("cmd_1"));
  ASSERT_THAT(first, IsOk());
  EXPECT_FALSE(first->again);
  const auto again = Order(Sample("cmd_2"));
  ASSERT_THAT(again, IsOk());
  EXPECT_TRUE(again->again);
  EXPECT_EQ(again->command.id, "cmd_1");
  Command other = Sample("cmd_3");
  other.asked = R"({"license":"lic_1","days":4})";
  EXPECT_THAT(Order(other), FailsWith(Code::kConflict));
  other = Sample("cmd_4");
  other.verb = "license.revoke";
  EXPECT_THAT(Order(other), FailsWith(Code::kConflict));
  // Somebody else's key is another one.
  other = Sample("cmd_5");
  other.actor = "key:bot";
  ASSERT_THAT(Order(other), IsOk());
  EXPECT_EQ(Get("cmd_5").actor, "key:bot");
}

TEST_P(CommandQueueTest, IsTakenOnceUntilTheLeaseEnds) {
  ASSERT_THAT(Order(Sample("cmd_1")), IsOk());
  ASSERT_EQ(Take(10).size(), 1u);
  EXPECT_TRUE(Take(50).empty());
  const auto again = Take(110);
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].attempts, 2);
  EXPECT_TRUE(End("cmd_1", CommandState::kDone));
  EXPECT_FALSE(End("cmd_1", CommandState::kFailed)) << "an end is an end";
  EXPECT_TRUE(Take(10'000).empty());
  const Command done = Get("cmd_1");
  EXPECT_TRUE(done.over());
  EXPECT_EQ(done.outcome, R"({"a":1})");
  EXPECT_EQ(done.secret, "the text");
}

TEST_P(CommandQueueTest, WhatIsPendingComesAgainWhenItIsDue) {
  ASSERT_THAT(Order(Sample("cmd_1")), IsOk());
  ASSERT_EQ(Take(10).size(), 1u);
  const auto pending = [](db::Tx& tx) {
    return CommandPending(tx, "cmd_1", "{}", UnixMs(500), UnixMs(20));
  };
  EXPECT_TRUE(Do(pending).value_or(false));
  EXPECT_EQ(Get("cmd_1").state, CommandState::kPending);
  EXPECT_TRUE(Take(400).empty());
  const auto due = Take(500);
  ASSERT_EQ(due.size(), 1u);
  EXPECT_EQ(due[0].attempts, 1) << "counted anew";
  const auto later = [](db::Tx& tx) {
    return CommandLater(tx, "cmd_1", "Stripe is away", UnixMs(900), UnixMs(600));
  };
  EXPECT_THAT(Do(later), IsOk());
  EXPECT_EQ(Get("cmd_1").last_error, "Stripe is away");
  EXPECT_TRUE(Take(899).empty());
  EXPECT_EQ(Take(900).size(), 1u);
}

TEST_P(CommandQueueTest, SecretsAreForgottenAfterADay) {
  ASSERT_THAT(Order(Sample("cmd_1")), IsOk());
  ASSERT_TRUE(End("cmd_1", CommandState::kDone, 1'000));
  const auto forget = [&](UnixMs now) {
    return Do([&](db::Tx& tx) { return ForgetSecrets(tx, now, 10); }).value_or(-1);
  };
  EXPECT_EQ(forget(UnixMs(1'000) + kSecretLife), 0);
  EXPECT_EQ(forget(UnixMs(1'001) + kSecretLife), 1);
  EXPECT_EQ(Get("cmd_1").secret, "");
  EXPECT_EQ(Get("cmd_1").outcome, R"({"a":1})");
}

TEST_P(CommandQueueTest, ListsPageByPage) {
  for (int i = 1; i <= 5; ++i) {
    ASSERT_THAT(Order(Sample("cmd_" + std::to_string(i), "k" + std::to_string(i)), i / 2), IsOk());
  }
  const auto list = [&](const CommandFilter& filter) {
    return Do([&](db::Tx& tx) { return ListCommands(tx, filter); })
        .value_or(std::vector<Command>());
  };
  std::string seen;
  CommandFilter filter{.limit = 2};
  for (auto page = list(filter); !page.empty(); page = list(filter)) {
    for (const Command& one : page) seen += one.id.back();
    filter.before_ms = page.back().created.ms();
    filter.before_id = page.back().id;
  }
  EXPECT_EQ(seen, "54321");
  EXPECT_TRUE(list({.subject = "lic_2"}).empty());
  EXPECT_EQ(list({.state = "requested"}).size(), 5u);
}

}  // namespace
}  // namespace pontage::ledger
