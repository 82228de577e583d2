#include "base/check.h"
#include "sandbox/stripe/form.h"
#include "testing/fuzz.h"

namespace {

using pontage::sandbox::stripe::FormMember;
using pontage::sandbox::stripe::FormNode;

// Writes every byte as an escape.
void AppendEscaped(std::string& out, std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    out.append({'%', kHex[byte >> 4], kHex[byte & 15]});
  }
}

void AppendForm(std::string& out, const FormNode& node, const std::string& name) {
  if (node.text) {
    if (!out.empty()) out.push_back('&');
    AppendEscaped(out, name);
    out.push_back('=');
    AppendEscaped(out, *node.text);
  }
  for (const FormMember& member : node.members) {
    AppendForm(out, member.node, name.empty() ? member.name : name + '[' + member.name + ']');
  }
}

}  // namespace

// What is read, written again and read again is the same form; and a value stands beside no
// members, so that nothing can be read in two ways.
FUZZ_TARGET(stripe_form) {
  using pontage::sandbox::stripe::Canonical;
  using pontage::sandbox::stripe::ParseForm;
  const auto form = ParseForm(input);
  if (!form) return;
  PTG_CHECK(!form->text);
  std::string again;
  AppendForm(again, *form, "");
  if (again.size() > pontage::sandbox::stripe::kMaxFormBytes) return;
  const auto reread = ParseForm(again);
  PTG_CHECK(reread.has_value());
  PTG_CHECK(Canonical(*reread) == Canonical(*form));
}
