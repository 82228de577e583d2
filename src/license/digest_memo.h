#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "crypto/hash.h"

namespace pontage::license {

// The digests of the few texts that come again and again: to compare a text costs a tenth of
// hashing it. Belongs to its loop.
class DigestMemo {
 public:
  // Null: not kept.
  const crypto::Hash32* Find(std::string_view text) const {
    const uint64_t end = EndOf(text);
    const Entry& entry = entries_[PlaceOf(end)];
    // Not in constant time: whoever gets to the rest has guessed all of the end.
    return entry.end == end && entry.text == text && end != 0 ? &entry.digest : nullptr;
  }
  // One in sixteen, in the place of another: who comes again and again is kept soon, and a crowd in
  // which nobody does costs little. Only of a text that was found good, so that nobody's bad ones
  // push out those.
  void MayKeep(std::string_view text, const crypto::Hash32& digest) {
    chance_ += kSpread;
    if (chance_ >> 60 != 0) return;
    const uint64_t end = EndOf(text);
    Entry& entry = entries_[PlaceOf(end)];
    entry.end = end;
    entry.text = text;
    entry.digest = digest;
  }

 private:
  static constexpr size_t kPlaceBits = 7;
  static constexpr uint64_t kSpread = 0x9E37'79B9'7F4A'7C15;  // 2^64 by the golden ratio
  struct Entry {
    uint64_t end = 0;
    std::string text;
    crypto::Hash32 digest{};
  };
  // Which of a license is of its signature: as good as drawn. 0 when it is too short to be any.
  static uint64_t EndOf(std::string_view text) {
    uint64_t end = 0;
    if (text.size() < sizeof end) return 0;
    std::memcpy(&end, text.data() + text.size() - sizeof end, sizeof end);
    return end;
  }
  static size_t PlaceOf(uint64_t end) { return end * kSpread >> (64 - kPlaceBits); }

  std::array<Entry, size_t{1} << kPlaceBits> entries_;
  uint64_t chance_ = 0;
};

}  // namespace pontage::license
