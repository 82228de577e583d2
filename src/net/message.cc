#include "net/message.h"

#include <algorithm>
#include <cstring>

#include "base/try.h"

namespace pontage::net {
namespace {

constexpr char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

}  // namespace

// Eight bytes at once: they may differ in the bit that is the case, and only where they are
// letters.
bool SameTextNoCase(std::string_view a, std::string_view b) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  constexpr uint64_t kHighs = kOnes * 0x80;
  constexpr uint64_t kCase = kOnes * 0x20;
  constexpr size_t kStep = sizeof(uint64_t);
  const auto same = [&a, &b](size_t at) {
    uint64_t x = 0;
    uint64_t y = 0;
    std::memcpy(&x, a.data() + at, kStep);
    std::memcpy(&y, b.data() + at, kStep);
    const uint64_t differing = x ^ y;
    if (differing == 0) return true;
    if ((differing & ~kCase) != 0) return false;
    const uint64_t small = (x | kCase) & ~kHighs;
    const uint64_t from_a = small + kOnes * (0x80 - 'a');
    const uint64_t past_z = small + kOnes * (0x7f - 'z');
    const uint64_t letters = from_a & ~past_z & ~x & kHighs;
    return ((differing << 2) & ~letters) == 0;
  };
  if (a.size() < kStep) {
    return std::equal(a.begin(), a.end(), b.begin(),
                      [](char x, char y) { return x == y || Lower(x) == Lower(y); });
  }
  for (size_t i = 0; i + kStep < a.size(); i += kStep) {
    if (!same(i)) return false;
  }
  return same(a.size() - kStep);
}

Headers::Headers(const Headers& other) : slots_(other.slots_) {
  if (other.size_ == 0) return;
  text_ = static_cast<char*>(TakeShelved(other.size_));
  size_ = room_ = other.size_;
  std::copy_n(other.text_, size_, text_);
}

std::optional<std::string_view> Headers::Get(std::string_view name) const {
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].name_size != name.size()) continue;
    const Field field = at(i);
    if (EqualsNoCase(field.name, name)) return field.value;
  }
  return std::nullopt;
}

size_t Headers::Count(std::string_view name) const {
  size_t count = 0;
  for (size_t i = 0; i < slots_.size(); ++i) count += EqualsNoCase(at(i).name, name) ? 1 : 0;
  return count;
}

std::string Headers::List(std::string_view name) const {
  std::string list;
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (EqualsNoCase(at(i).name, name)) list.append(list.empty() ? "" : ", ").append(at(i).value);
  }
  return list;
}

void Headers::Append(std::string_view name, std::string_view value, bool judged) {
  // What a usual head takes, at once.
  constexpr size_t kUsualText = 512;
  constexpr size_t kUsualFields = 16;
  const size_t line = name.size() + kColon + value.size() + kEnd;
  char* const old = text_;
  const size_t old_room = room_;
  const bool grows = room_ - size_ < line;
  if (grows) {
    if (slots_.empty()) slots_.reserve(kUsualFields);
    room_ = std::max({kUsualText, 2 * room_, size_ + line});
    text_ = static_cast<char*>(TakeShelved(room_));
    std::copy_n(old, size_, text_);
  }
  Slot slot{};
  slot.at = static_cast<uint32_t>(size_);
  slot.name_size = static_cast<uint32_t>(name.size());
  slot.value_size = static_cast<uint32_t>(value.size());
  slot.judged = judged;
  char* to = std::copy_n(name.data(), name.size(), text_ + size_);
  *to++ = ':';
  *to++ = ' ';
  to = std::copy_n(value.data(), value.size(), to);
  *to++ = '\r';
  *to = '\n';
  size_ += line;
  slots_.push_back(slot);
  // Only now: name and value may lie in it.
  if (grows && old != nullptr) GiveShelved(old, old_room);
}

size_t Headers::Remove(std::string_view name) {
  // The name may be a view into this object: the text stays where it is.
  return RemoveIf([name](std::string_view other) { return EqualsNoCase(other, name); });
}

void Headers::Set(std::string_view name, std::string_view value) {
  Remove(name);
  Add(name, value);
}

Task<std::string> ReadAll(BodySource& body, size_t max, Deadline by) {
  std::string all;
  const auto too_large = [max] {
    return Fail(Code::kBodyTooLarge, "the body is larger than " + std::to_string(max) + " bytes");
  };
  if (!body.empty() && body.length().value_or(0) > max) co_return too_large();
  while (true) {
    PTG_CO_TRY(const std::string_view piece, co_await body.Read(by));
    if (piece.empty()) co_return all;
    if (piece.size() > max - all.size()) co_return too_large();
    all.append(piece);
  }
}

Task<std::string_view> StringBody::Read(Deadline /*by*/) {
  if (std::exchange(read_, true)) co_return std::string_view();
  co_return std::string_view(bytes_);
}

}  // namespace pontage::net
