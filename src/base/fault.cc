#include "base/fault.h"

#ifdef PTG_FAULTS
#include <atomic>
#include <cstdlib>
#include <signal.h>
#include <string>

namespace pontage::fault {
namespace {

struct Kill {
  std::string name;
  int left = 1;
};

Kill FromEnvironment() {
  Kill kill;
  const char* const text = std::getenv("PTG_KILL_AT");
  if (text == nullptr) return kill;
  kill.name = text;
  if (const size_t colon = kill.name.find(':'); colon != std::string::npos) {
    kill.left = std::atoi(kill.name.c_str() + colon + 1);
    kill.name.resize(colon);
  }
  return kill;
}

std::string g_planted;

}  // namespace

void Point(std::string_view name) {
  static const Kill kill = FromEnvironment();
  static std::atomic<int> left{kill.left};
  if (kill.name == name && left.fetch_sub(1) == 1) raise(SIGKILL);
}

void Plant(std::string_view name) { g_planted = name; }
bool IsPlanted(std::string_view name) { return !g_planted.empty() && g_planted == name; }

}  // namespace pontage::fault
#endif
