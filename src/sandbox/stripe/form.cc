#include "sandbox/stripe/form.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "base/try.h"
#include "codec/hex.h"
#include "codec/json.h"

namespace pontage::sandbox::stripe {
namespace {

std::unexpected<ApiError> Broken(std::string what) {
  return Refuse("", "Invalid request: " + std::move(what));
}

// "a[b][0]" to a, b, 0; an empty last step is "[]". Nothing when the brackets do not fit.
std::optional<std::vector<std::string_view>> StepsOf(std::string_view name) {
  std::vector<std::string_view> steps;
  const size_t first = std::min(name.find('['), name.size());
  steps.push_back(name.substr(0, first));
  std::string_view rest = name.substr(first);
  while (!rest.empty()) {
    const size_t end = rest.find(']');
    if (rest.front() != '[' || end == std::string_view::npos) return std::nullopt;
    steps.push_back(rest.substr(1, end - 1));
    rest.remove_prefix(end + 1);
  }
  for (size_t i = 0; i < steps.size(); ++i) {
    const std::string_view step = steps[i];
    if (step.find_first_of("[]") != std::string_view::npos || step.size() > kMaxFormName) {
      return std::nullopt;
    }
    if (step.empty() && (i == 0 || i + 1 != steps.size())) return std::nullopt;
  }
  return steps;
}

FormNode* FindIn(FormNode& node, std::string_view name) {
  for (FormMember& member : node.members) {
    if (member.name == name) return &member.node;
  }
  return nullptr;
}

Answered<> Put(FormNode& form, std::string_view name, std::string value) {
  const std::optional<std::vector<std::string_view>> steps = StepsOf(name);
  if (!steps) return Broken("the brackets of a parameter's name do not fit");
  if (steps->size() > kMaxFormDepth) return Broken("a parameter is nested too deep");
  FormNode* at = &form;
  for (const std::string_view step : *steps) {
    if (at->text) return Broken("a parameter has both a value and members");
    const std::string key = step.empty() ? std::to_string(at->members.size()) : std::string(step);
    FormNode* next = FindIn(*at, key);
    if (next == nullptr) {
      at->members.push_back({key, {}});
      next = &at->members.back().node;
    }
    at = next;
  }
  if (at->text || !at->members.empty()) return Broken("a parameter is given twice");
  at->text = std::move(value);
  return {};
}

void Collect(const FormNode& node, const std::string& name, std::vector<std::string>& pairs) {
  if (node.text) pairs.push_back(name + '\0' + *node.text);
  for (const FormMember& member : node.members) {
    Collect(member.node, name + '[' + member.name + ']', pairs);
  }
}

}  // namespace

const FormNode* FormNode::Find(std::string_view name) const {
  for (const FormMember& member : members) {
    if (member.name == name) return &member.node;
  }
  return nullptr;
}

bool IsUtf8(std::string_view text) {
  // The JSON parser refuses what is not; escaping adds at most five bytes to each.
  const codec::JsonLimits limits{.max_bytes = 6 * text.size() + 2};
  return codec::ParseJson(ToString(codec::Json(text)), limits).has_value();
}

std::optional<std::string> DecodeFormText(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out.push_back(' ');
    } else if (text[i] == '%') {
      std::array<uint8_t, 1> byte{};
      if (text.size() - i < 3 || !codec::HexInto(text.substr(i + 1, 2), byte)) return std::nullopt;
      out.push_back(static_cast<char>(byte[0]));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  if (out.find('\0') != std::string::npos || !IsUtf8(out)) return std::nullopt;
  return out;
}

Answered<FormNode> ParseForm(std::string_view text) {
  if (text.size() > kMaxFormBytes) return Broken("the form is too large");
  FormNode form;
  size_t pairs = 0;
  while (!text.empty()) {
    if (++pairs > kMaxFormPairs) return Broken("the form has too many parameters");
    const size_t end = std::min(text.find('&'), text.size());
    const std::string_view pair = text.substr(0, end);
    if (end + 1 == text.size()) return Broken("the form ends with &");
    text.remove_prefix(std::min(end + 1, text.size()));
    const size_t equals = pair.find('=');
    if (equals == std::string_view::npos) return Broken("a parameter without =");
    const std::optional<std::string> name = DecodeFormText(pair.substr(0, equals));
    std::optional<std::string> value = DecodeFormText(pair.substr(equals + 1));
    if (!name || !value) return Broken("a parameter is not percent-encoded UTF-8");
    PTG_RUN(Put(form, *name, *std::move(value)));
  }
  return form;
}

std::string Canonical(const FormNode& form) {
  std::vector<std::string> pairs;
  for (const FormMember& member : form.members) Collect(member.node, member.name, pairs);
  std::ranges::sort(pairs);
  std::string out;
  // A NUL ends each name and value: none has one inside.
  for (const std::string& pair : pairs) out.append(pair).push_back('\0');
  return out;
}

}  // namespace pontage::sandbox::stripe
