#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace pontage {

// The one source of randomness. Safe to call from any thread.
class Rng {
 public:
  virtual ~Rng() = default;
  virtual void Fill(std::span<uint8_t> out) = 0;
  uint64_t Next64();
  // getrandom(2); lives for ever. Good for keys and nonces. Up to 24 bytes come from a reserve of
  // the thread's own, which a fork empties.
  static Rng& System();
};

// Repeatable, for tests and simulations only: the same seed gives the same bytes. Not for keys.
// Not safe for use by several threads at once.
class SeededRng final : public Rng {
 public:
  explicit SeededRng(uint64_t seed) : state_(seed) {}
  void Fill(std::span<uint8_t> out) override;

 private:
  uint64_t state_;
};

}  // namespace pontage
