#include "base/rng.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <pthread.h>

#include <sys/random.h>

#include "base/check.h"

namespace pontage {
namespace {

void FromKernel(std::span<uint8_t> out) {
  while (!out.empty()) {
    const ssize_t n = getrandom(out.data(), out.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    PTG_CHECK(n > 0);
    out = out.subspan(static_cast<size_t>(n));
  }
}

// Counts forks: what a child has inherited, its parent gives out too.
std::atomic<uint64_t> g_forks{0};

// Ids are drawn three to a request, and each was a system call: a thread asks the kernel for some
// hundred at once. Keys are longer than kLongest and never wait in memory for somebody to want
// them.
class Reserve {
 public:
  static constexpr size_t kLongest = 24;

  void Take(std::span<uint8_t> out) {
    const uint64_t forks = g_forks.load(std::memory_order_relaxed);
    if (bytes_.size() - used_ < out.size() || forks != forks_) {
      FromKernel(bytes_);
      used_ = 0;
      forks_ = forks;
    }
    const auto from = bytes_.begin() + static_cast<std::ptrdiff_t>(used_);
    const auto end = from + static_cast<std::ptrdiff_t>(out.size());
    std::copy(from, end, out.begin());
    std::fill(from, end, uint8_t{0});
    used_ += out.size();
  }

 private:
  std::array<uint8_t, 2048> bytes_{};
  size_t used_ = sizeof bytes_;
  uint64_t forks_ = 0;
};

class SystemRng final : public Rng {
 public:
  SystemRng() {
    const int watched = pthread_atfork(nullptr, nullptr, [] { ++g_forks; });
    PTG_CHECK(watched == 0);
  }
  void Fill(std::span<uint8_t> out) override {
    if (out.size() > Reserve::kLongest) return FromKernel(out);
    thread_local Reserve reserve;
    reserve.Take(out);
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
