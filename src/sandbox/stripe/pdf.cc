#include "sandbox/stripe/pdf.h"

#include <algorithm>
#include <cstddef>

namespace pontage::sandbox::stripe {
namespace {

constexpr size_t kMaxLines = 48;  // of 14 points on a page of 842, with margins

std::string Literal(const std::string& line) {
  std::string out = "(";
  for (const char c : line) {
    if (c == '(' || c == ')' || c == '\\') out.push_back('\\');
    if (c >= ' ' && c <= '~') out.push_back(c);
  }
  return out + ")";
}

// Ten digits, as the cross-reference table has its offsets.
std::string Offset(size_t at) {
  const std::string digits = std::to_string(at);
  return std::string(10 - std::min<size_t>(digits.size(), 10), '0') + digits;
}

}  // namespace

std::string TextPdf(const std::vector<std::string>& lines) {
  std::string text = "BT /F1 11 Tf 56 780 Td 14 TL\n";
  for (size_t i = 0; i < std::min(lines.size(), kMaxLines); ++i) {
    text += Literal(lines[i]) + " Tj T*\n";
  }
  text += "ET";
  const std::string page =
      std::string("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R") +
      " /Resources << /Font << /F1 5 0 R >> >> >>";
  const std::string objects[] = {
      "<< /Type /Catalog /Pages 2 0 R >>",
      "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
      page,
      "<< /Length " + std::to_string(text.size()) + " >>\nstream\n" + text + "\nendstream",
      "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
  };
  std::string pdf = "%PDF-1.4\n";
  std::string table = "xref\n0 6\n0000000000 65535 f \n";
  size_t number = 0;
  for (const std::string& object : objects) {
    table += Offset(pdf.size()) + " 00000 n \n";
    pdf += std::to_string(++number) + " 0 obj\n" + object + "\nendobj\n";
  }
  const std::string start = std::to_string(pdf.size());
  return pdf + table + "trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n" + start + "\n%%EOF\n";
}

}  // namespace pontage::sandbox::stripe
