#include "base/thread_name.h"

#include <array>
#include <cstddef>
#include <pthread.h>

namespace pontage {

void NameThread(std::string_view name) {
  // The kernel's limit, with the zero.
  std::array<char, 16> text{};
  name.copy(text.data(), text.size() - 1);
  // Nothing depends on it.
  (void)pthread_setname_np(pthread_self(), text.data());
}

}  // namespace pontage
