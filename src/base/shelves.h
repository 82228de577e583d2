#pragma once

#include <cstddef>

namespace pontage {

// Memory for what begins and ends with every request: frames of Task, heads of messages. Some forty
// such pieces for each of many requests were more than the allocator keeps at hand for a thread,
// and its long way took a sixth of a request's instructions. Here a thread keeps what it was given
// back, by size, for the next. Any thread may give back what another took. Under AddressSanitizer
// each is an allocation of its own, so that a use after the end is seen.
void* TakeShelved(std::size_t bytes);
void GiveShelved(void* piece, std::size_t bytes) noexcept;

// Gives the allocator those that this thread has had no use for since the last time: what a burst
// left. For a loop to call every few seconds. The bytes given back.
std::size_t TrimShelves() noexcept;

// The same for containers.
template <typename T>
struct Shelved {
  using value_type = T;
  Shelved() = default;
  template <typename U>
  Shelved(const Shelved<U>&) {}  // NOLINT(google-explicit-constructor): containers rebind it so
  T* allocate(std::size_t n) { return static_cast<T*>(TakeShelved(n * sizeof(T))); }
  void deallocate(T* p, std::size_t n) noexcept { GiveShelved(p, n * sizeof(T)); }
  friend bool operator==(const Shelved&, const Shelved&) { return true; }
};

}  // namespace pontage
