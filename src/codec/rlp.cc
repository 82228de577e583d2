#include "codec/rlp.h"

#include <algorithm>

#include "base/try.h"

namespace pontage::codec {
namespace {

std::unexpected<Error> Fault(std::string why) {
  return Fail(Code::kBadRequest, "not RLP: " + std::move(why));
}

// Ethereum yellow paper, appendix B. `base` is 0x80 for octets and 0xc0 for a list.
void AppendHead(Bytes& out, uint8_t base, size_t length) {
  if (length < 56) {
    out.push_back(static_cast<uint8_t>(base + length));
    return;
  }
  uint8_t digits = 0;
  for (size_t n = length; n != 0; n >>= 8) ++digits;
  out.push_back(static_cast<uint8_t>(base + 55 + digits));
  for (size_t i = digits; i-- > 0;) out.push_back(static_cast<uint8_t>(length >> (8 * i)));
}

void AppendItem(Bytes& out, const RlpItem& item) {
  if (!item.is_list) {
    if (item.bytes.size() != 1 || item.bytes[0] >= 0x80) AppendHead(out, 0x80, item.bytes.size());
    Append(out, item.bytes);
    return;
  }
  Bytes body;
  for (const RlpItem& child : item.items) AppendItem(body, child);
  AppendHead(out, 0xc0, body.size());
  Append(out, body);
}

struct Head {
  bool is_list = false;
  size_t length = 0;
};

// Takes the head off `rest`; a single octet below 0x80 is its own body and stays.
Result<Head> TakeHead(ByteView& rest) {
  if (rest.empty()) return Fault("ends too soon");
  const uint8_t first = rest[0];
  if (first < 0x80) return Head{.is_list = false, .length = 1};
  rest = rest.subspan(1);
  Head head{.is_list = first >= 0xc0, .length = 0};
  const size_t code = first - (head.is_list ? 0xc0U : 0x80U);
  if (code < 56) {
    head.length = code;
  } else {
    const size_t digits = code - 55;
    if (digits > rest.size()) return Fault("ends too soon");
    if (rest[0] == 0) return Fault("a length with a leading zero");
    if (digits > 4) return Fault("a length beyond reason");
    for (size_t i = 0; i < digits; ++i) head.length = head.length << 8 | rest[i];
    if (head.length < 56) return Fault("a long form for a short item");
    rest = rest.subspan(digits);
  }
  if (head.length > rest.size()) return Fault("ends too soon");
  if (!head.is_list && head.length == 1 && rest[0] < 0x80) {
    return Fault("a head before an octet that needs none");
  }
  return head;
}

Result<RlpItem> TakeItem(ByteView& rest, size_t depth) {
  if (depth == 0) return Fault("nested too deep");
  PTG_TRY(const Head head, TakeHead(rest));
  ByteView body = rest.first(head.length);
  rest = rest.subspan(head.length);
  if (!head.is_list) return RlpItem::Octets(body);
  RlpItem list = RlpItem::List({});
  while (!body.empty()) {
    PTG_TRY(RlpItem child, TakeItem(body, depth - 1));
    list.items.push_back(std::move(child));
  }
  return list;
}

}  // namespace

RlpItem RlpItem::Uint(const Uint256& n) {
  const Bytes32 word = n.ToBytesBE();
  const auto first = std::ranges::find_if(word, [](uint8_t b) { return b != 0; });
  return {false, Bytes(first, word.end()), {}};
}

Result<Uint256> RlpItem::ToUint() const {
  if (is_list) return Fault("a list where a number should be");
  if (!bytes.empty() && bytes[0] == 0) return Fault("a number with a leading zero");
  return Uint256::FromBytesBE(bytes);
}

Result<uint64_t> RlpItem::ToU64() const {
  PTG_TRY(const Uint256 n, ToUint());
  const std::optional<uint64_t> small = n.ToU64();
  if (!small) return Fault("a number above 64 bits");
  return *small;
}

Bytes EncodeRlp(const RlpItem& item) {
  Bytes out;
  AppendItem(out, item);
  return out;
}

Result<RlpItem> DecodeRlp(ByteView bytes) {
  PTG_TRY(RlpItem item, TakeItem(bytes, kMaxRlpDepth));
  if (!bytes.empty()) return Fault("something stands behind the item");
  return item;
}

}  // namespace pontage::codec
