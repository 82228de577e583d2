#include "net/message.h"

#include <algorithm>

#include "base/try.h"

namespace pontage::net {
namespace {

constexpr char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

}  // namespace

bool SameTextNoCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(),
                    [](char x, char y) { return x == y || Lower(x) == Lower(y); });
}

std::optional<std::string_view> Headers::Get(std::string_view name) const {
  for (const Slot& slot : slots_) {
    if (slot.name_size != name.size()) continue;
    const char* const text = text_.data();
    if (!SameTextNoCase({text + slot.name_at, slot.name_size}, name)) continue;
    return std::string_view(text + slot.value_at, slot.value_size);
  }
  return std::nullopt;
}

size_t Headers::Count(std::string_view name) const {
  size_t count = 0;
  for (size_t i = 0; i < slots_.size(); ++i) count += EqualsNoCase(at(i).name, name) ? 1 : 0;
  return count;
}

void Headers::Add(std::string_view name, std::string_view value) {
  // Views into this very object would not survive its growth.
  const auto ours = [this](std::string_view view) {
    return view.data() >= text_.data() && view.data() < text_.data() + text_.size();
  };
  if (ours(name) || ours(value)) {
    const std::string name_copy(name);
    const std::string value_copy(value);
    Add(name_copy, value_copy);
    return;
  }
  if (slots_.empty()) {
    // What a usual head takes, at once.
    slots_.reserve(16);
    text_.reserve(std::max<size_t>(512, name.size() + value.size()));
  }
  Slot slot{};
  slot.name_at = static_cast<uint32_t>(text_.size());
  slot.name_size = static_cast<uint32_t>(name.size());
  text_.append(name);
  slot.value_at = static_cast<uint32_t>(text_.size());
  slot.value_size = static_cast<uint32_t>(value.size());
  text_.append(value);
  slots_.push_back(slot);
}

size_t Headers::Remove(std::string_view name) {
  // The name may be a view into this object: the text stays where it is.
  const std::string_view text = text_;
  return std::erase_if(slots_, [&](const Slot& slot) {
    return EqualsNoCase(text.substr(slot.name_at, slot.name_size), name);
  });
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
