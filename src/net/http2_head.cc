#include "net/http2_head.h"

#include <algorithm>

namespace pontage::net::http2 {
namespace {

// RFC 9113 §10.5.1: what a field costs beside its text.
constexpr size_t kFieldCost = 32;

std::unexpected<Refusal> Refuse(int status, std::string_view why) {
  return std::unexpected(Refusal{status, why});
}

bool IsBlank(char c) { return c == ' ' || c == '\t'; }

// HTTP/2 spells names in lower case only (§8.2.1).
bool IsName(std::string_view name) {
  return http1::IsToken(name) &&
         std::ranges::none_of(name, [](char c) { return c >= 'A' && c <= 'Z'; });
}

bool IsValue(std::string_view value) {
  if (!value.empty() && (IsBlank(value.front()) || IsBlank(value.back()))) return false;
  return http1::IsFieldValue(value);
}

// What belongs to one connection of HTTP/1 makes a message malformed here (§8.2.2).
bool IsConnectionField(std::string_view name) {
  return name == "connection" || name == "keep-alive" || name == "proxy-connection" ||
         name == "transfer-encoding" || name == "upgrade";
}

}  // namespace

void HeadBuilder::Add(std::string_view name, std::string_view value) {
  bytes_ += name.size() + value.size() + kFieldCost;
  if (refusal_) return;
  if (bytes_ > limits_.bytes) {
    refusal_ = {431, "the head is too large"};
    return;
  }
  if (const auto judged = Judge(name, value); !judged) refusal_ = judged.error();
}

Parsed<> HeadBuilder::Judge(std::string_view name, std::string_view value) {
  if (name.starts_with(':')) return Pseudo(name, value);
  regular_ = true;
  if (!IsName(name)) return Refuse(400, "a header name that is not a token in lower case");
  if (!IsValue(value)) return Refuse(400, "a control character or blank in a header value");
  if (IsConnectionField(name)) return Refuse(400, "a header that HTTP/2 does not have");
  if (name == "te") {
    if (value != "trailers") return Refuse(400, "a header that HTTP/2 does not have");
    return {};
  }
  if (kind_ == Kind::kTrailers) {
    if (name == "content-length" || name == "host") return Refuse(400, "a trailer that frames");
  } else if (name == "host") {
    if (host_) return Refuse(400, "more than one Host");
    host_ = value;
    return {};
  } else if (name == "cookie") {
    // Split for the sake of compression; one field again for who reads HTTP/1 (§8.2.3).
    cookie_.append(cookie_.empty() ? "" : "; ").append(value);
    return {};
  }
  if (headers_.size() == limits_.fields) return Refuse(431, "too many header fields");
  headers_.AddJudged(name, value);
  return {};
}

Parsed<> HeadBuilder::Pseudo(std::string_view name, std::string_view value) {
  if (kind_ == Kind::kTrailers) return Refuse(400, "a pseudo-header among the trailers");
  if (regular_) return Refuse(400, "a pseudo-header behind other headers");
  std::optional<std::string>* const field = name == ":method"      ? &method_
                                            : name == ":scheme"    ? &scheme_
                                            : name == ":authority" ? &authority_
                                            : name == ":path"      ? &path_
                                                                   : nullptr;
  if (field == nullptr) return Refuse(400, "a pseudo-header that is not of requests");
  if (*field) return Refuse(400, "a pseudo-header a second time");
  *field = value;
  return {};
}

Parsed<> HeadBuilder::Target(RequestHead& head) const {
  if (!method_ || !http1::IsToken(*method_)) return Refuse(400, "a method that is not a token");
  if (http1::IsMiscasedMethod(*method_)) {
    return Refuse(400, "a method that is not in capital letters");
  }
  // Extended CONNECT is not offered either: who wants a WebSocket asks over HTTP/1.1.
  if (*method_ == "CONNECT") return Refuse(501, "CONNECT is not offered here");
  if (*method_ == "TRACE") return Refuse(501, "TRACE is not offered here");
  if (!scheme_ || (*scheme_ != "https" && *scheme_ != "http")) {
    return Refuse(400, "a scheme that is neither https nor http");
  }
  if (!path_ || !http1::IsTargetText(*path_)) {
    return Refuse(400, "a request target with characters that must be escaped");
  }
  if (path_->front() != '/' && (*path_ != "*" || *method_ != "OPTIONS")) {
    return Refuse(400, "a request target that is not a path");
  }
  head.method = *method_;
  head.target = *path_;
  return {};
}

Parsed<> HeadBuilder::Host(RequestHead& head) const {
  const std::optional<std::string>& host = authority_ ? authority_ : host_;
  if (!host) return Refuse(400, "no authority");
  if (!http1::IsAuthority(*host)) return Refuse(400, "a malformed authority");
  // Two names for one server are two readings of one request.
  if (host_ && !EqualsNoCase(*host_, *host)) return Refuse(400, "a Host beside another authority");
  head.headers.Add("Host", *host);
  return {};
}

Parsed<> HeadBuilder::Framing(http1::Request& request, bool body) const {
  const Headers& headers = request.head.headers;
  if (headers.Count("content-length") > 1) return Refuse(400, "more than one Content-Length");
  std::optional<uint64_t> length;
  if (const auto digits = headers.Get("content-length")) {
    const Parsed<uint64_t> parsed = http1::ParseLength(*digits);
    if (!parsed) return std::unexpected(parsed.error());
    length = *parsed;
  }
  if (!body && length.value_or(0) > 0) return Refuse(400, "a Content-Length without a body");
  if (body && length != 0U) {
    request.framing = length ? http1::Framing::kLength : http1::Framing::kChunked;
    request.length = length.value_or(0);
  }
  if (const auto expect = headers.Get("expect")) {
    if (headers.Count("expect") > 1 || !EqualsNoCase(*expect, "100-continue")) {
      return Refuse(417, "an expectation other than 100-continue");
    }
    request.expect_continue = request.framing != http1::Framing::kNone;
  }
  return {};
}

Parsed<http1::Request> HeadBuilder::Request(bool body) {
  if (refusal_) return std::unexpected(*refusal_);
  http1::Request request;
  request.keep_alive = true;
  request.head.headers = std::move(headers_);
  if (const auto good = Target(request.head); !good) return std::unexpected(good.error());
  if (const auto good = Host(request.head); !good) return std::unexpected(good.error());
  if (!cookie_.empty()) request.head.headers.Add("cookie", cookie_);
  if (const auto good = Framing(request, body); !good) return std::unexpected(good.error());
  return request;
}

Parsed<Headers> HeadBuilder::Trailers() {
  if (refusal_) return std::unexpected(*refusal_);
  return std::move(headers_);
}

}  // namespace pontage::net::http2
