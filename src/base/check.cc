#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace pontage {
void CheckFailed(const char* file, int line, const char* what) {
  std::fprintf(stderr, "%s:%d: broken invariant: %s\n", file, line, what);
  std::abort();
}
}  // namespace pontage
