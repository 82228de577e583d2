#include "base/shelves.h"

#include <algorithm>
#include <array>
#include <new>
#include <optional>
#include <utility>

namespace pontage {

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PTG_NO_SHELVES 1
#endif
#endif

#ifdef PTG_NO_SHELVES

void* TakeShelved(std::size_t bytes) { return ::operator new(bytes); }
void GiveShelved(void* piece, std::size_t) noexcept { ::operator delete(piece); }
std::size_t TrimShelves() noexcept { return 0; }

#else

namespace {

constexpr std::size_t kGrain = 128;
// Larger ones are rare.
constexpr std::size_t kLargest = 4096;
// Kept of each size: what some hundred requests that a saturated loop has under way take.
constexpr std::size_t kKeptBytes = 256 * 1024;

struct Free {
  Free* next;
};

struct Shelf {
  Free* first = nullptr;
  std::size_t count = 0;
  std::size_t least = 0;  // of `count` since the last trim: so many were never needed
  std::size_t most = 0;   // 0 before the thread's first piece, and after its last
};

constexpr std::size_t kShelves = kLargest / kGrain;
// Nothing of it needs a constructor or a destructor, so that nobody has to ask at each piece
// whether they have run.
constinit thread_local std::array<Shelf, kShelves> t_shelves{};

// Gives back what is left when the thread ends. Its last coroutines may end after that.
struct Cleaner {
  Cleaner() {
    for (std::size_t i = 0; i < kShelves; ++i) {
      t_shelves[i].most = kKeptBytes / ((i + 1) * kGrain);
    }
  }
  ~Cleaner() {
    for (Shelf& shelf : t_shelves) {
      shelf.most = shelf.count = shelf.least = 0;
      while (Free* const one = shelf.first) {
        shelf.first = one->next;
        ::operator delete(one);
      }
    }
  }
};
thread_local std::optional<Cleaner> t_cleaner;
constinit thread_local bool t_begun = false;

}  // namespace

void* TakeShelved(std::size_t bytes) {
  const std::size_t index = (bytes - 1) / kGrain;
  if (index >= kShelves) return ::operator new(bytes);
  Shelf& shelf = t_shelves[index];
  Free* const one = shelf.first;
  if (one == nullptr) {
    if (!std::exchange(t_begun, true)) t_cleaner.emplace();
    return ::operator new((index + 1) * kGrain);
  }
  shelf.first = one->next;
  --shelf.count;
  shelf.least = std::min(shelf.least, shelf.count);
  return one;
}

void GiveShelved(void* piece, std::size_t bytes) noexcept {
  const std::size_t index = (bytes - 1) / kGrain;
  if (index >= kShelves) return ::operator delete(piece);
  Shelf& shelf = t_shelves[index];
  if (shelf.count >= shelf.most) return ::operator delete(piece);
  shelf.first = new (piece) Free{shelf.first};
  ++shelf.count;
}

std::size_t TrimShelves() noexcept {
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < kShelves; ++i) {
    Shelf& shelf = t_shelves[i];
    bytes += shelf.least * (i + 1) * kGrain;
    for (; shelf.least > 0; --shelf.least) {
      Free* const one = shelf.first;
      shelf.first = one->next;
      --shelf.count;
      ::operator delete(one);
    }
    shelf.least = shelf.count;
  }
  return bytes;
}

#endif

}  // namespace pontage
