#pragma once

#include <ostream>
#include <string>

#include <gmock/gmock.h>

#include "base/error.h"

namespace pontage {

// gtest prints a failed Result by what a caller would see.
inline std::string Describe(const Error& error) {
  std::string text = "code " + std::to_string(static_cast<int>(error.code())) + ": ";
  text += error.detail();
  if (!error.pointer().empty()) text += " at " + error.pointer();
  if (!error.expected().empty()) text += ", want " + error.expected();
  return text;
}
inline void PrintTo(const Error& error, std::ostream* out) { *out << Describe(error); }

namespace testing {

// EXPECT_THAT(Parse(text), IsOk());
MATCHER(IsOk, "is a value") {
  if (arg.has_value()) return true;
  *result_listener << Describe(arg.error());
  return false;
}

// EXPECT_THAT(Parse(text), FailsWith(Code::kBadRequest));
MATCHER_P(FailsWith, code, "fails with code " + std::to_string(static_cast<int>(code))) {
  if (arg.has_value()) {
    *result_listener << "is a value";
    return false;
  }
  *result_listener << Describe(arg.error());
  return arg.error().code() == code;
}

// The text (a part of it) and the place, too.
MATCHER_P2(FailsAt, pointer, text, "fails at " + std::string(pointer) + " saying " + text) {
  if (arg.has_value()) {
    *result_listener << "is a value";
    return false;
  }
  *result_listener << Describe(arg.error());
  return arg.error().pointer() == pointer && arg.error().detail().contains(text);
}

}  // namespace testing
}  // namespace pontage
