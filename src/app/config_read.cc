#include "app/config_read.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <arpa/inet.h>

#include "net/client.h"

namespace pontage::app {
namespace {

std::optional<uint64_t> Digits(std::string_view text) {
  uint64_t n = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (fault != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return n;
}

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) {
    text.remove_suffix(1);
  }
  return text;
}

}  // namespace

std::string ConfigContext::FromHere(std::string_view path) const {
  const size_t slash = file.rfind('/');
  if (path.starts_with('/') || slash == std::string::npos) return std::string(path);
  return file.substr(0, slash + 1) + std::string(path);
}

std::string Section::Path(std::string_view key) const {
  if (key.empty()) return shown_;
  return shown_.empty() ? ShownKey(key) : shown_ + '.' + ShownKey(key);
}

int Section::LineOf(std::string_view key) const {
  const TomlNode* value = node_ ? node_->Find(key) : nullptr;
  return value ? value->line : line();
}

Section Section::Child(std::string_view key) const {
  return {context_, Find(key, TomlNode::Kind::kTable), Path(key), secrecy_};
}

std::vector<Section> Section::Children(std::string_view key) const {
  std::vector<Section> out;
  if (const TomlNode* list = Find(key, TomlNode::Kind::kArray)) {
    for (const TomlNode& item : list->items) {
      if (item.kind == TomlNode::Kind::kTable) {
        out.emplace_back(context_, &item, Path(key), secrecy_);
      }
    }
  }
  return out;
}

std::vector<std::pair<std::string, const TomlNode*>> Section::Members() const {
  std::vector<std::pair<std::string, const TomlNode*>> out;
  if (node_ == nullptr) return out;
  for (const auto& [key, value] : node_->members) out.emplace_back(key, &value);
  return out;
}

void Section::Fault(std::string_view key, std::string found, std::string expected) const {
  context_.Fault(LineOf(key), Path(key), std::move(found), std::move(expected));
}

std::string Section::Found(std::string_view key) const {
  const TomlNode* value = node_ ? node_->Find(key) : nullptr;
  return value ? value->Shown() : "nothing";
}

const TomlNode* Section::Find(std::string_view key, TomlNode::Kind kind) const {
  const TomlNode* value = node_ ? node_->Find(key) : nullptr;
  return value != nullptr && value->kind == kind ? value : nullptr;
}

std::optional<std::string> Section::String(std::string_view key) const {
  const TomlNode* value = Find(key, TomlNode::Kind::kString);
  if (value == nullptr) return std::nullopt;
  return value->text;
}

std::string Section::StringOr(std::string_view key, std::string fallback) const {
  return String(key).value_or(std::move(fallback));
}

std::string Section::RequiredString(std::string_view key, std::string_view expected) const {
  std::string text = StringOr(key, "");
  // A value of another kind has been named already.
  if (text.empty() && (!Has(key) || String(key))) {
    Fault(key, Has(key) ? "an empty string" : "nothing", std::string(expected));
  }
  return text;
}

std::string Section::OneOf(std::string_view key, std::string fallback,
                           std::initializer_list<std::string_view> allowed) const {
  const std::string text = StringOr(key, fallback);
  if (std::ranges::find(allowed, text) != allowed.end()) return text;
  std::string expected;
  for (const std::string_view word : allowed) {
    if (!expected.empty()) expected += " or ";
    expected += '"' + std::string(word) + '"';
  }
  Fault(key, Found(key), std::move(expected));
  return fallback;
}

std::vector<std::string> Section::Strings(std::string_view key) const {
  std::vector<std::string> out;
  if (const auto one = String(key)) {
    out.push_back(*one);
  } else if (const TomlNode* list = Find(key, TomlNode::Kind::kArray)) {
    for (const TomlNode& item : list->items) {
      if (item.kind == TomlNode::Kind::kString) out.push_back(item.text);
    }
  }
  return out;
}

std::optional<int64_t> Section::Int(std::string_view key, int64_t least, int64_t most) const {
  const TomlNode* value = Find(key, TomlNode::Kind::kInt);
  if (value == nullptr) return std::nullopt;
  if (value->number < least || value->number > most) {
    Fault(key, Found(key),
          "a whole number from " + std::to_string(least) + " to " + std::to_string(most));
    return std::nullopt;
  }
  return value->number;
}

std::vector<int64_t> Section::Ints(std::string_view key) const {
  std::vector<int64_t> out;
  if (const TomlNode* list = Find(key, TomlNode::Kind::kArray)) {
    for (const TomlNode& item : list->items) {
      if (item.kind == TomlNode::Kind::kInt) out.push_back(item.number);
    }
  }
  return out;
}

bool Section::BoolOr(std::string_view key, bool fallback) const {
  const TomlNode* value = Find(key, TomlNode::Kind::kBool);
  return value ? value->flag : fallback;
}

std::optional<Money> Section::Price(std::string_view key) const {
  const auto text = String(key);
  if (!text) return std::nullopt;
  auto price = ParseMoney(*text);
  if (!price) {
    Fault(key, Found(key), "an amount of dollars with at most six decimals, \"$0.001\"");
    return std::nullopt;
  }
  return *price;
}

std::optional<Millis> Section::Duration(std::string_view key, Millis least, Millis most) const {
  const auto text = String(key);
  if (!text) return std::nullopt;
  const auto duration = ParseDuration(*text);
  if (!duration || *duration < least || *duration > most) {
    Fault(key, Found(key),
          "a duration like \"30s\", \"500ms\" or \"5m\", from " + std::to_string(least.count()) +
              "ms to " + std::to_string(most.count() / 1000) + "s");
    return std::nullopt;
  }
  return *duration;
}

std::optional<size_t> Section::Size(std::string_view key, size_t least, size_t most) const {
  if (!Has(key)) return std::nullopt;
  std::optional<uint64_t> size;
  if (const auto text = String(key)) {
    size = ParseSize(*text);
  } else if (const TomlNode* number = Find(key, TomlNode::Kind::kInt)) {
    if (number->number >= 0) size = static_cast<uint64_t>(number->number);
  } else {
    return std::nullopt;
  }
  if (!size || *size < least || *size > most) {
    Fault(key, Found(key),
          "a size like \"64KiB\", \"1MiB\" or a number of bytes, from " + std::to_string(least) +
              " to " + std::to_string(most));
    return std::nullopt;
  }
  return static_cast<size_t>(*size);
}

std::optional<Allowance> Section::Rate(std::string_view key) const {
  const auto text = String(key);
  if (!text) return std::nullopt;
  auto rate = ParseAllowance(*text);
  if (!rate) Fault(key, Found(key), "a number and a period: \"20/s\", \"600/min\", \"100/day\"");
  return rate;
}

std::optional<std::string> Section::Url(std::string_view key, const std::string& text) const {
  std::string url = text;
  if (url.starts_with("env:")) {
    const std::string name = url.substr(4);
    const auto value = context_.sources.environment(name);
    if (!value || value->empty()) {
      Fault(key, "env:" + name + ", which is not set", "the variable " + name + " with a URL");
      return std::nullopt;
    }
    url = *value;
    if (net::ParseUrl(url)) return url;
    Fault(key, "env:" + name + ", which holds no URL", "an http:// or https:// URL");
    return std::nullopt;
  }
  if (net::ParseUrl(url)) return url;
  Fault(key, QuoteToml(RedactUrl(url)), "an http:// or https:// URL, without user and fragment");
  return std::nullopt;
}

std::string Section::UrlOr(std::string_view key, std::string fallback) const {
  const auto text = String(key);
  if (!text) return fallback;
  std::string url = Url(key, *text).value_or(std::move(fallback));
  while (url.ends_with('/')) url.pop_back();
  return url;
}

std::optional<Secret> Section::Resolve(std::string_view key, int line,
                                       std::string_view reference) const {
  // In place of one that is not there: nothing where it is a fault.
  const auto absent = [&](std::string found, std::string expected) -> std::optional<Secret> {
    if (context_.options.secrets && secrecy_ == Secrecy::kNeeded) {
      context_.Fault(line, Path(key), std::move(found), std::move(expected));
      return std::nullopt;
    }
    context_.missing.push_back({Path(key), std::move(found)});
    return Secret();
  };
  const bool from_environment = reference.starts_with("env:");
  if (!from_environment && !reference.starts_with("file:")) {
    context_.Fault(line, Path(key), "a secret in the file itself",
                   std::string("\"env:NAME\" or \"file:path\""));
    return std::nullopt;
  }
  if (secrecy_ == Secrecy::kUnread) return Secret();
  if (from_environment) {
    const std::string name(reference.substr(4));
    auto value = context_.sources.environment(name);
    if (value && !value->empty()) return Secret(*std::move(value));
    return absent("env:" + name + ", which is not set",
                  "the variable " + name + " in the environment");
  }
  const std::string path = context_.FromHere(reference.substr(5));
  auto text = context_.sources.read_file(path);
  const bool read = text.has_value();
  const Secret whole(read ? *std::move(text) : std::string());
  const std::string_view value = Trimmed(whole.Reveal());
  if (!value.empty()) return Secret(std::string(value));
  return absent("file:" + path + (read ? ", which is empty" : ", unreadable"),
                "a readable file that holds the secret");
}

Secret Section::OneSecret(std::string_view key) const {
  const TomlNode* value = Find(key, TomlNode::Kind::kString);
  if (value == nullptr) return {};
  auto secret = Resolve(key, value->line, value->text);
  return secret ? *std::move(secret) : Secret();
}

std::vector<Secret> Section::Secrets(std::string_view key) const {
  std::vector<Secret> out;
  for (const std::string& reference : Strings(key)) {
    if (auto secret = Resolve(key, LineOf(key), reference)) out.push_back(*std::move(secret));
  }
  return out;
}

Secret Section::Expand(std::string_view key, const TomlNode& value) const {
  std::string out;
  std::string_view rest = value.text;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(' '), rest.size());
    const std::string_view word = rest.substr(0, end);
    if (word.starts_with("env:") || word.starts_with("file:")) {
      if (const auto secret = Resolve(key, value.line, word)) out += secret->Reveal();
    } else {
      out += word;
    }
    rest.remove_prefix(end);
    if (!rest.empty()) {
      out += ' ';
      rest.remove_prefix(1);
    }
  }
  return Secret(std::move(out));
}

bool IsListenAddress(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return false;
  const auto port = Digits(text.substr(colon + 1));
  if (!port || *port > 65'535) return false;
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) {
    const std::string inner(host.substr(1, host.size() - 2));
    std::array<uint8_t, 16> out{};
    return inet_pton(AF_INET6, inner.c_str(), out.data()) == 1;
  }
  return host.find_first_of(":/ []") == std::string_view::npos;
}

bool IsCidr(std::string_view text) {
  const size_t slash = text.find('/');
  const std::string address(text.substr(0, slash));
  std::array<uint8_t, 16> out{};
  const bool v4 = inet_pton(AF_INET, address.c_str(), out.data()) == 1;
  if (!v4 && inet_pton(AF_INET6, address.c_str(), out.data()) != 1) return false;
  if (slash == std::string_view::npos) return true;
  const auto bits = Digits(text.substr(slash + 1));
  return bits && *bits <= (v4 ? 32u : 128u);
}

std::optional<uint64_t> ParseSize(std::string_view text) {
  constexpr std::array<std::pair<std::string_view, unsigned>, 4> kUnits = {
      {{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"B", 0}}};
  unsigned shift = 0;
  for (const auto& [unit, bits] : kUnits) {
    if (!text.ends_with(unit)) continue;
    text.remove_suffix(unit.size());
    shift = bits;
    break;
  }
  while (text.ends_with(' ')) text.remove_suffix(1);
  const auto n = Digits(text);
  if (!n || *n > (UINT64_MAX >> shift)) return std::nullopt;
  return *n << shift;
}

std::optional<Allowance> ParseAllowance(std::string_view text) {
  constexpr std::array<std::pair<std::string_view, int64_t>, 8> kPeriods = {{{"s", 1},
                                                                             {"sec", 1},
                                                                             {"min", 60},
                                                                             {"m", 60},
                                                                             {"h", 3'600},
                                                                             {"hour", 3'600},
                                                                             {"day", 86'400},
                                                                             {"d", 86'400}}};
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto count = Digits(text.substr(0, slash));
  if (!count || *count == 0 || *count > 1'000'000'000) return std::nullopt;
  for (const auto& [name, seconds] : kPeriods) {
    if (text.substr(slash + 1) == name) {
      return Allowance{
          .count = *count, .window = Millis(seconds * 1000), .text = std::string(text)};
    }
  }
  return std::nullopt;
}

}  // namespace pontage::app
