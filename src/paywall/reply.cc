#include "paywall/reply.h"

#include <algorithm>

#include "base/try.h"
#include "wire/problem/error_map.h"

namespace pontage::paywall {

std::string_view ReasonPhrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 402:
      return "Payment Required";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    default:
      return "";
  }
}

void Reply::Decorate(net::ResponseHead& head, bool ours) const {
  head.headers.Set("X-Request-Id", id_.str());
  for (size_t i = 0; i < added_.size(); ++i) {
    head.headers.Set(added_.at(i).name, added_.at(i).value);
  }
  if (!cross_origin_) return;
  if (ours || !head.headers.Has("Access-Control-Allow-Origin")) {
    head.headers.Set("Access-Control-Allow-Origin", "*");
  }
  std::string exposed(kExposedHeaders);
  if (const auto theirs = head.headers.Get("Access-Control-Expose-Headers")) {
    exposed = std::string(*theirs) + ", " + exposed;
  }
  head.headers.Set("Access-Control-Expose-Headers", exposed);
}

Task<> Reply::Send(int status, std::string_view content_type, std::string body,
                   HeaderList headers) {
  net::ResponseHead head;
  head.status = deny_403_ && status >= 400 && status != 401 ? 403 : status;
  head.reason = ReasonPhrase(head.status);
  if (deny_403_ && status >= 400) {
    head.headers.Add("X-Pontage-Status", std::to_string(status));
    const bool fits = body.size() <= kMaxBodyField && body.find('\n') == body.npos;
    if (fits) head.headers.Add("X-Pontage-Body", body);
  }
  if (!content_type.empty()) head.headers.Add("Content-Type", content_type);
  for (const auto& [name, value] : headers) head.headers.Set(name, value);
  Decorate(head, true);
  status_ = status;
  const std::optional<uint64_t> size = body.size();
  PTG_CO_RUN(co_await out_.Head(std::move(head), size));
  if (!body.empty()) PTG_CO_RUN(co_await out_.Write(body));
  co_return co_await out_.End();
}

Task<> Reply::SendMade(int status, const net::Headers& fields, std::string_view body) {
  if (deny_403_) {
    HeaderList headers;
    for (size_t i = 0; i < fields.size(); ++i) {
      const net::Headers::Field field = fields.at(i);
      headers.emplace_back(field.name, field.value);
    }
    co_return co_await Send(status, "", std::string(body), std::move(headers));
  }
  net::ResponseHead head;
  head.status = status_ = status;
  head.reason = ReasonPhrase(status);
  head.headers = fields;
  Decorate(head, true);
  const std::optional<uint64_t> size = body.size();
  PTG_CO_RUN(co_await out_.Head(std::move(head), size));
  if (!body.empty()) PTG_CO_RUN(co_await out_.Write(body));
  co_return co_await out_.End();
}

Task<> Reply::Problem(const Error& error, HeaderList headers) {
  const int status = problem::RowOf(error.code()).http;
  const bool again = status == 503 || status == 409 || status == 429;
  const auto says_when = [](const auto& field) { return field.first == "Retry-After"; };
  if (again && std::ranges::none_of(headers, says_when)) headers.emplace_back("Retry-After", "1");
  headers.emplace_back("Cache-Control", "no-store");
  std::string body = codec::ToString(problem::ToJson(error));
  co_return co_await Send(status, problem::kContentType, std::move(body), std::move(headers));
}

}  // namespace pontage::paywall
