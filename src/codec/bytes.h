#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pontage::codec {

// Octets, as opposed to text. Views do not own: what they look at must outlive them.
using Bytes = std::vector<uint8_t>;
using ByteView = std::span<const uint8_t>;
using Bytes32 = std::array<uint8_t, 32>;

// The same octets, seen as the other of the two. No copy.
inline ByteView AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline std::string_view AsText(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline void Append(Bytes& to, ByteView more) { to.insert(to.end(), more.begin(), more.end()); }

}  // namespace pontage::codec
