#include "wire/stripe/form.h"

namespace pontage::stripe {
namespace {

// RFC 3986 §2.3.
bool IsUnreserved(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

void AppendEncoded(std::string& to, std::string_view text, std::string_view also_kept = {}) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  for (const char c : text) {
    if (IsUnreserved(c) || also_kept.contains(c)) {
      to.push_back(c);
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    to.push_back('%');
    to.push_back(kDigits[byte >> 4]);
    to.push_back(kDigits[byte & 15]);
  }
}

}  // namespace

Form& Form::Add(std::string_view name, std::string_view value) {
  std::string encoded;
  AppendEncoded(encoded, name, "[]");
  fields_.push_back({std::move(encoded), std::string(value)});
  return *this;
}

Form& Form::AddList(std::string_view name, const std::vector<std::string>& values) {
  for (size_t i = 0; i < values.size(); ++i) {
    Add(std::string(name) + "[" + std::to_string(i) + "]", values[i]);
  }
  return *this;
}

Form& Form::AddTo(std::string_view map, std::string_view key, std::string_view value) {
  std::string encoded;
  AppendEncoded(encoded, map, "[]");
  encoded.push_back('[');
  AppendEncoded(encoded, key);
  encoded.push_back(']');
  fields_.push_back({std::move(encoded), std::string(value)});
  return *this;
}

std::string Form::Encode() const {
  std::string text;
  for (const Field& field : fields_) {
    if (!text.empty()) text.push_back('&');
    text.append(field.name).push_back('=');
    AppendEncoded(text, field.value);
  }
  return text;
}

}  // namespace pontage::stripe
