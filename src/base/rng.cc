#include "base/rng.h"

#include <cerrno>
#include <cstring>

#include <sys/random.h>

#include "base/check.h"

namespace pontage {
namespace {

class SystemRng final : public Rng {
 public:
  void Fill(std::span<uint8_t> out) override {
    while (!out.empty()) {
      const ssize_t n = getrandom(out.data(), out.size(), 0);
      if (n < 0 && errno == EINTR) continue;
      PTG_CHECK(n > 0);
      out = out.subspan(static_cast<size_t>(n));
    }
  }
};

}  // namespace

Rng& Rng::System() {
  static SystemRng rng;
  return rng;
}

uint64_t Rng::Next64() {
  uint8_t bytes[8];
  Fill(bytes);
  uint64_t n = 0;
  std::memcpy(&n, bytes, sizeof n);
  return n;
}

// splitmix64: small, well spread, and good enough for everything that is not a secret.
void SeededRng::Fill(std::span<uint8_t> out) {
  size_t i = 0;
  while (i < out.size()) {
    state_ += 0x9e3779b97f4a7c15ULL;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    z ^= z >> 31;
    for (int k = 0; k < 8 && i < out.size(); ++k, ++i) out[i] = static_cast<uint8_t>(z >> (8 * k));
  }
}

}  // namespace pontage
