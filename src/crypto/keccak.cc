// The loops over lanes are unrolled by pragma, which makes clang's -O2 as fast as its -O3 (350 ns
// for 66 bytes either way; left rolled it is half as slow again).
#include <bit>
#include <cstring>

#include "crypto/hash.h"

namespace pontage::crypto {
namespace {

constexpr uint64_t kRounds[24] = {
    0x0000000000000001, 0x0000000000008082, 0x800000000000808a, 0x8000000080008000,
    0x000000000000808b, 0x0000000080000001, 0x8000000080008081, 0x8000000000008009,
    0x000000000000008a, 0x0000000000000088, 0x0000000080008009, 0x000000008000000a,
    0x000000008000808b, 0x800000000000008b, 0x8000000000008089, 0x8000000000008003,
    0x8000000000008002, 0x8000000000000080, 0x000000000000800a, 0x800000008000000a,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008};

// Where lane `i` goes in rho and pi, and by how much it turns (FIPS 202 §3.2.2, §3.2.3), following
// the one cycle that pi is on all lanes but the first.
constexpr int kPi[24] = {10, 7,  11, 17, 18, 3, 5,  16, 8,  21, 24, 4,
                         15, 23, 19, 13, 12, 2, 20, 14, 22, 9,  6,  1};
constexpr int kRho[24] = {1,  3,  6,  10, 15, 21, 28, 36, 45, 55, 2,  14,
                          27, 41, 56, 8,  25, 43, 62, 18, 39, 61, 20, 44};

void Permute(std::array<uint64_t, 25>& lanes) {
  uint64_t a[25];
  std::memcpy(a, lanes.data(), sizeof a);
  for (const uint64_t constant : kRounds) {
    uint64_t c[5];
    for (int x = 0; x < 5; ++x) c[x] = a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20];
#pragma clang loop unroll(full)
    for (int x = 0; x < 5; ++x) {
      const uint64_t d = c[(x + 4) % 5] ^ std::rotl(c[(x + 1) % 5], 1);
#pragma clang loop unroll(full)
      for (int y = 0; y < 25; y += 5) a[x + y] ^= d;
    }
    uint64_t moving = a[1];
#pragma clang loop unroll(full)
    for (int i = 0; i < 24; ++i) {
      const uint64_t next = a[kPi[i]];
      a[kPi[i]] = std::rotl(moving, kRho[i]);
      moving = next;
    }
#pragma clang loop unroll(full)
    for (int y = 0; y < 25; y += 5) {
      uint64_t row[5];
      std::memcpy(row, a + y, sizeof row);
#pragma clang loop unroll(full)
      for (int x = 0; x < 5; ++x) a[y + x] = row[x] ^ (~row[(x + 1) % 5] & row[(x + 2) % 5]);
    }
    a[0] ^= constant;
  }
  std::memcpy(lanes.data(), a, sizeof a);
}

void XorByte(std::array<uint64_t, 25>& lanes, size_t at, uint8_t b) {
  lanes[at / 8] ^= static_cast<uint64_t>(b) << (8 * (at % 8));
}

}  // namespace

Keccak& Keccak::Update(codec::ByteView bytes) {
  while (!bytes.empty()) {
    if (filled_ % 8 == 0 && bytes.size() >= 8) {  // The common case, a lane at a time.
      uint64_t lane = 0;
      static_assert(std::endian::native == std::endian::little);
      std::memcpy(&lane, bytes.data(), 8);
      state_[filled_ / 8] ^= lane;
      filled_ += 8;
      bytes = bytes.subspan(8);
    } else {
      XorByte(state_, filled_, bytes[0]);
      ++filled_;
      bytes = bytes.subspan(1);
    }
    if (filled_ == kRate) {
      Permute(state_);
      filled_ = 0;
    }
  }
  return *this;
}

Hash32 Keccak::Finish() {
  XorByte(state_, filled_, 0x01);  // Keccak's own padding; SHA3-256 has 0x06 here.
  XorByte(state_, kRate - 1, 0x80);
  Permute(state_);
  Hash32 out;
  std::memcpy(out.data(), state_.data(), out.size());
  state_ = {};
  filled_ = 0;
  return out;
}

Hash32 Keccak256(codec::ByteView bytes) { return Keccak().Update(bytes).Finish(); }

Hash32 Keccak256(std::initializer_list<codec::ByteView> parts) {
  Keccak keccak;
  for (const codec::ByteView part : parts) keccak.Update(part);
  return keccak.Finish();
}

}  // namespace pontage::crypto
