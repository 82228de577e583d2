#include "base/check.h"

#include <cstdio>
#include <cstdlib>

#include "base/log.h"

namespace pontage {
void CheckFailed(const char* file, int line, const char* what) {
  FlushLog();
  std::fprintf(stderr, "%s:%d: broken invariant: %s\n", file, line, what);
  std::abort();
}
}  // namespace pontage
