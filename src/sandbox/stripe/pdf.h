#pragma once

#include <string>
#include <vector>

namespace pontage::sandbox::stripe {

// One page of text in a built-in font (ISO 32000-1): what does not fit on it, or is not printable
// ASCII, is left out.
std::string TextPdf(const std::vector<std::string>& lines);

}  // namespace pontage::sandbox::stripe
