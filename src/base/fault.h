#pragma once

#include <string_view>

// Where a test binary may be made to fail: a point at which it kills itself, or a rule that it does
// not keep. Only builds with PTG_FAULTS (the sanitizers') know them; in all others both are
// nothing.
#ifdef PTG_FAULTS
namespace pontage::fault {

// Ends the process as SIGKILL does when the environment says PTG_KILL_AT=<name>, or <name>:<n> for
// the n-th time it comes by (from 1).
void Point(std::string_view name);

// Plants one fault, and takes the one before it back; "" for none. Not thread safe.
void Plant(std::string_view name);
bool IsPlanted(std::string_view name);

}  // namespace pontage::fault

#define PTG_KILL_POINT(name) ::pontage::fault::Point(name)
#define PTG_PLANTED(name) ::pontage::fault::IsPlanted(name)
#else
#define PTG_KILL_POINT(name) static_cast<void>(0)
#define PTG_PLANTED(name) false
#endif
