#pragma once

namespace pontage {
// Prints where and what, then aborts. The supervisor restarts us and the sweeper mends what was
// open.
[[noreturn]] void CheckFailed(const char* file, int line, const char* what);
}  // namespace pontage

// A broken invariant of our own code; never for anything that came from outside.
#define PTG_CHECK(cond)                                  \
  do {                                                   \
    if (!(cond)) [[unlikely]]                            \
      ::pontage::CheckFailed(__FILE__, __LINE__, #cond); \
  } while (false)
