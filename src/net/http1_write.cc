#include <algorithm>
#include <array>
#include <charconv>

#include "net/http1.h"

namespace pontage::net::http1 {
namespace {

// What is left of a head lies in few runs of whole lines.
bool WriteFields(const Headers& headers, std::string& out, const HopByHop* omit = nullptr) {
  std::string_view run;
  for (size_t i = 0; i < headers.size(); ++i) {
    const Headers::Field field = headers.at(i);
    if (omit != nullptr && (omit->Is(field.name) || EqualsNoCase(field.name, "Host") ||
                            EqualsNoCase(field.name, "Expect"))) {
      continue;
    }
    if (!headers.judged(i) && (!IsToken(field.name) || !IsFieldValue(field.value))) return false;
    const std::string_view line = headers.line(i);
    if (run.data() + run.size() != line.data()) {
      out.append(run);
      run = {line.data(), 0};
    }
    run = {run.data(), run.size() + line.size()};
  }
  out.append(run);
  return true;
}

void WriteNumber(uint64_t number, int base, std::string& out) {
  std::array<char, 20> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), number, base).ptr;
  out.append(text.data(), end);
}

void WriteFraming(const WriteOptions& options, std::string& out) {
  if (!options.upgrade.empty()) out.append("Upgrade: ").append(options.upgrade).append("\r\n");
  if (!options.connection.empty()) {
    out.append("Connection: ").append(options.connection).append("\r\n");
  }
  if (options.chunked) {
    out.append("Transfer-Encoding: chunked\r\n");
  } else if (options.length) {
    out.append("Content-Length: ");
    WriteNumber(*options.length, 10, out);
    out.append("\r\n");
  }
}

}  // namespace

bool WriteRequest(const RequestHead& head, std::string_view host, const WriteOptions& options,
                  std::string& out) {
  const size_t before = out.size();
  if (!IsToken(head.method) || !IsTargetText(head.target) || !IsAuthority(host) ||
      !IsFieldValue(options.upgrade)) {
    return false;
  }
  out.append(head.method).append(" ").append(head.target).append(" HTTP/1.1\r\nHost: ");
  out.append(host).append("\r\n");
  if (!WriteFields(head.headers, out, options.omit)) {
    out.resize(before);
    return false;
  }
  WriteFraming(options, out);
  out.append("\r\n");
  return true;
}

bool WriteResponse(const ResponseHead& head, const WriteOptions& options, std::string& out) {
  const size_t before = out.size();
  if (head.status < 100 || head.status > 999 || !IsFieldValue(head.reason)) return false;
  out.append("HTTP/1.1 ");
  WriteNumber(static_cast<uint64_t>(head.status), 10, out);
  out.append(" ").append(head.reason.empty() ? Reason(head.status) : head.reason).append("\r\n");
  if (!WriteFields(head.headers, out)) {
    out.resize(before);
    return false;
  }
  WriteFraming(options, out);
  out.append("\r\n");
  return true;
}

void WriteChunkSize(size_t size, std::string& out) {
  WriteNumber(size, 16, out);
  out.append("\r\n");
}

bool WriteLastChunk(const Headers* trailers, std::string& out) {
  const size_t before = out.size();
  out.append("0\r\n");
  if (trailers != nullptr && !WriteFields(*trailers, out)) {
    out.resize(before);
    return false;
  }
  out.append("\r\n");
  return true;
}

std::string_view Reason(int status) {
  struct Row {
    int status;
    std::string_view text;
  };
  static constexpr Row kRows[] = {
      {100, "Continue"},
      {101, "Switching Protocols"},
      {103, "Early Hints"},
      {200, "OK"},
      {201, "Created"},
      {202, "Accepted"},
      {204, "No Content"},
      {206, "Partial Content"},
      {301, "Moved Permanently"},
      {302, "Found"},
      {303, "See Other"},
      {304, "Not Modified"},
      {307, "Temporary Redirect"},
      {308, "Permanent Redirect"},
      {400, "Bad Request"},
      {401, "Unauthorized"},
      {402, "Payment Required"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {406, "Not Acceptable"},
      {408, "Request Timeout"},
      {409, "Conflict"},
      {410, "Gone"},
      {411, "Length Required"},
      {412, "Precondition Failed"},
      {413, "Content Too Large"},
      {414, "URI Too Long"},
      {415, "Unsupported Media Type"},
      {417, "Expectation Failed"},
      {421, "Misdirected Request"},
      {422, "Unprocessable Content"},
      {425, "Too Early"},
      {426, "Upgrade Required"},
      {428, "Precondition Required"},
      {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {502, "Bad Gateway"},
      {503, "Service Unavailable"},
      {504, "Gateway Timeout"},
      {505, "HTTP Version Not Supported"},
  };
  for (const Row& row : kRows) {
    if (row.status == status) return row.text;
  }
  return "Status";
}

}  // namespace pontage::net::http1
