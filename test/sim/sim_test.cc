#include <cstdlib>
#include <iostream>
#include <string>

#include <gtest/gtest.h>

#include "base/fault.h"
#include "base/log.h"
#include "world.h"

namespace pontage::sim {
namespace {

int FromEnvironment(const char* name, int otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoi(text);
}

std::string RunSeed(uint64_t seed, World::Figures* sum = nullptr) {
  World world(PlanOf(seed));
  std::string wrong = world.Run();
  if (sum != nullptr) {
    const World::Figures& f = world.figures();
    sum->served += f.served;
    sum->settled += f.settled;
    sum->lapsed += f.lapsed;
    sum->refused += f.refused;
    sum->crashes += f.crashes;
    sum->shown_again += f.shown_again;
    sum->redeemed += f.redeemed;
    sum->reorgs += f.reorgs;
    sum->undone += f.undone;
    sum->lost += f.lost;
  }
  return wrong;
}

class SimTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::getenv("PTG_SIM_LOG") == nullptr) SetLogSink([](std::string_view) {});
  }
  void TearDown() override { SetLogSink(nullptr); }
};

// PTG_SIM_SEEDS seeds from PTG_SIM_FIRST on; one seed again: PTG_SIM_FIRST=<seed> PTG_SIM_SEEDS=1.
TEST_F(SimTest, WhateverFailsNothingIsLostAndNothingRunsTwice) {
  const int first = FromEnvironment("PTG_SIM_FIRST", 1);
  const int seeds = FromEnvironment("PTG_SIM_SEEDS", 200);
  World::Figures sum;
  int failed = 0;
  for (int seed = first; seed < first + seeds && failed < 5; ++seed) {
    const std::string wrong = RunSeed(static_cast<uint64_t>(seed), &sum);
    if (wrong.empty()) continue;
    ADD_FAILURE() << "seed " << seed << ": " << wrong;
    ++failed;
  }
  std::cout << seeds << " seeds: " << sum.served << " served, " << sum.settled << " settled, "
            << sum.lapsed << " told to sign anew, " << sum.refused << " could not be settled, "
            << sum.crashes << " crashes, " << sum.shown_again << " shown once more, "
            << sum.redeemed << " served again after a crash of ours, " << sum.reorgs
            << " reorganisations that undid " << sum.undone << " settlements, " << sum.lost
            << " of them for good\n";
  if (seeds < 50) return;
  // A world in which nothing happens proves nothing.
  EXPECT_GT(sum.served, seeds * 10);
  EXPECT_GT(sum.crashes, seeds);
  EXPECT_GT(sum.undone, seeds / 10);
}

// The same seed is the same run, or a failure could not be looked at again.
TEST_F(SimTest, ASeedIsARun) {
  for (const uint64_t seed : {3UL, 58UL}) {
    World first(PlanOf(seed));
    World second(PlanOf(seed));
    EXPECT_EQ(first.Run(), second.Run());
    EXPECT_EQ(first.Story(), second.Story());
  }
}

#ifdef PTG_FAULTS
// A simulation that cannot fail is worth nothing: each rule that is broken on purpose turns it red.
class PlantedTest : public SimTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(PlantedTest, TurnsItRed) {
  fault::Plant(GetParam());
  std::string wrong;
  uint64_t seed = 0;
  while (wrong.empty() && seed < 30) {
    Plan plan = PlanOf(++seed);
    // Only payments that share a transaction can be taken for each other.
    if (GetParam() == std::string_view("count_log_twice")) {
      plan.multicall = true;
      plan.payments = 150;
      plan.weather.token_eats = 100;
    }
    if (GetParam() == std::string_view("ignore_reorg")) plan.weather.reorgs = 150;
    wrong = World(plan).Run();
  }
  fault::Plant("");
  EXPECT_NE(wrong, "") << "nobody noticed " << GetParam();
  std::cout << GetParam() << " is red with seed " << seed << ": " << wrong.substr(0, 120) << "\n";
}

INSTANTIATE_TEST_SUITE_P(Faults, PlantedTest,
                         ::testing::Values("skip_reserve", "drop_void", "forget_outbox",
                                           "trust_timeout", "settle_twice", "count_log_twice",
                                           "ignore_reorg"),
                         [](const auto& info) { return std::string(info.param); });
#endif

}  // namespace
}  // namespace pontage::sim
