#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sandbox/stripe/api_error.h"

namespace pontage::sandbox::stripe {

struct FormMember;

// One value of a form: a text, or members by name. A list is members named "0", "1", …
struct FormNode {
  std::optional<std::string> text;
  std::vector<FormMember> members;

  // nullptr when there is none.
  const FormNode* Find(std::string_view name) const;
};
struct FormMember {
  std::string name;
  FormNode node;
};

// The largest form: a session with a hundred items and all its metadata is some 100 KiB.
inline constexpr size_t kMaxFormBytes = 256 << 10;
inline constexpr size_t kMaxFormPairs = 1'000;  // finding a name is a walk over its neighbours
inline constexpr size_t kMaxFormDepth = 8;      // Stripe's deepest parameter has six steps
inline constexpr size_t kMaxFormName = 256;     // of one step; a metadata key has at most 40

// application/x-www-form-urlencoded with Stripe's bracket nesting: "a[b][0][c]=x", "expand[]=y".
// Strict, so that no form is read in two ways: refuses what cannot be decoded or is no UTF-8,
// unbalanced brackets, a value given twice and a value that has members. Empty text is an empty
// form. 400 without a code.
Answered<FormNode> ParseForm(std::string_view text);

// The same pairs in any order give the same text; different forms give different ones.
std::string Canonical(const FormNode& form);

// "%41+b" to "A b"; nothing when an escape is broken, or the text is no UTF-8 or has a NUL.
std::optional<std::string> DecodeFormText(std::string_view text);

// Whether `text` is well-formed UTF-8.
bool IsUtf8(std::string_view text);

}  // namespace pontage::sandbox::stripe
