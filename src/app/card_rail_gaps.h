#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "app/config.h"

namespace pontage::app {

// A value that the card rail needs and the configuration has not: named nowhere, or found empty or
// absent where it is said to be. Nothing fails of it (a section may be for later), so that the
// start and the doctor tell it.
struct CardRailGap {
  std::string_view event;   // of the log
  std::string_view check;   // of the doctor
  std::string_view key;     // "stripe.api_key"
  std::string found;        // "env:NAME, which is not set"; "nothing"
  std::string_view means;   // what does not happen without it
  std::string_view remedy;  // what to write where
  // "stripe.api_key: env:NAME, which is not set; nothing is sold by card"
  std::string Text() const;
};

// All of them; none where nothing is sold and nothing mailed.
std::vector<CardRailGap> CardRailGaps(const Config& config);

}  // namespace pontage::app
