#include "base/shelves.h"

#include <array>
#include <new>

namespace pontage {

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PTG_NO_SHELVES 1
#endif
#endif

#ifdef PTG_NO_SHELVES

void* TakeShelved(std::size_t bytes) { return ::operator new(bytes); }
void GiveShelved(void* piece, std::size_t) noexcept { ::operator delete(piece); }

#else

namespace {

constexpr std::size_t kGrain = 128;
// Larger ones are rare.
constexpr std::size_t kLargest = 4096;
// Kept for each size: as many requests as a saturated loop has under way, and no more.
constexpr std::size_t kKept = 64;

struct Free {
  Free* next;
};

struct Shelf {
  Free* first = nullptr;
  std::size_t count = 0;
};

class Shelves {
 public:
  ~Shelves() {
    gone_ = true;
    for (Shelf& shelf : shelves_) {
      while (Free* const one = shelf.first) {
        shelf.first = one->next;
        ::operator delete(one);
      }
    }
  }

  void* Take(std::size_t index) {
    Shelf& shelf = shelves_[index];
    Free* const one = shelf.first;
    if (one == nullptr) return ::operator new((index + 1) * kGrain);
    shelf.first = one->next;
    --shelf.count;
    return one;
  }

  void Give(void* piece, std::size_t index) noexcept {
    Shelf& shelf = shelves_[index];
    // A thread's last coroutines may end after its shelves.
    if (gone_ || shelf.count == kKept) return ::operator delete(piece);
    shelf.first = new (piece) Free{shelf.first};
    ++shelf.count;
  }

 private:
  std::array<Shelf, kLargest / kGrain> shelves_;
  bool gone_ = false;
};

thread_local Shelves t_shelves;

}  // namespace

void* TakeShelved(std::size_t bytes) {
  if (bytes > kLargest) return ::operator new(bytes);
  return t_shelves.Take((bytes - 1) / kGrain);
}

void GiveShelved(void* piece, std::size_t bytes) noexcept {
  if (bytes > kLargest) return ::operator delete(piece);
  t_shelves.Give(piece, (bytes - 1) / kGrain);
}

#endif

}  // namespace pontage
