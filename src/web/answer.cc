#include "web/answer.h"

#include <algorithm>

#include "base/id.h"
#include "base/try.h"
#include "codec/hex.h"
#include "wire/problem/error_map.h"

namespace pontage::web {
namespace {

using codec::Json;

// application/x-www-form-urlencoded, one name or value.
Result<std::string> Decoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out.push_back(' ');
    } else if (text[i] != '%') {
      out.push_back(text[i]);
    } else {
      uint8_t byte = 0;
      if (!codec::HexInto(text.substr(std::min(i + 1, text.size()), 2), {&byte, 1})) {
        return Fail(
            Error(Code::kBadRequest, "a broken escape in the form").Want("%, then two hex digits"));
      }
      out.push_back(static_cast<char>(byte));
      i += 2;
    }
  }
  return out;
}

}  // namespace

Answer JsonAnswer(const Json& json) {
  Answer answer;
  answer.body = codec::ToString(json);
  return answer;
}

Answer ProblemAnswer(const Error& error) {
  Answer answer;
  answer.status = problem::RowOf(error.code()).http;
  answer.type = problem::kContentType;
  answer.body = codec::ToString(problem::ToJson(error));
  if (answer.status == 429 || answer.status == 503) answer.headers.emplace_back("Retry-After", "1");
  if (answer.status == 401) answer.headers.emplace_back("WWW-Authenticate", "Bearer");
  return answer;
}

Answer SeeOther(std::string_view url) {
  Answer answer;
  answer.status = 303;
  answer.type = "text/plain; charset=utf-8";
  answer.body = std::string(url) + "\n";
  answer.headers.emplace_back("Location", url);
  return answer;
}

Answer PageAnswer(std::string html) {
  Answer answer;
  answer.type = "text/html; charset=utf-8";
  answer.body = std::move(html);
  answer.headers.emplace_back("Content-Security-Policy",
                              "default-src 'none'; style-src 'unsafe-inline'; form-action 'self' "
                              "https:; frame-ancestors 'none'; base-uri 'none'");
  answer.headers.emplace_back("X-Content-Type-Options", "nosniff");
  // The address of the success page opens the license.
  answer.headers.emplace_back("Referrer-Policy", "no-referrer");
  return answer;
}

Task<> SendAnswer(net::ResponseWriter& out, Answer answer, const Clock& clock, Rng& rng) {
  net::ResponseHead head;
  head.status = answer.status;
  head.headers.Add("Content-Type", answer.type);
  head.headers.Add("Cache-Control", "no-store");
  for (const auto& [name, value] : answer.headers) head.headers.Add(name, value);
  if (!head.headers.Has("X-Request-Id")) {
    head.headers.Add("X-Request-Id", NewIdText("req", clock, rng));
  }
  PTG_CO_RUN(co_await out.Head(std::move(head), answer.body.size()));
  PTG_CO_RUN(co_await out.Write(answer.body));
  co_return co_await out.End();
}

Result<> Fields::Add(std::string name, std::string value) {
  if (!Get(name).empty() || all_.size() >= kMost) {
    return Fail(Error(Code::kBadRequest, "a member that is there twice, or too many")
                    .At("/" + name)
                    .Want("each member once"));
  }
  all_.emplace_back(std::move(name), std::move(value));
  return {};
}

Result<Fields> Fields::ReadForm(std::string_view text) {
  Fields fields;
  fields.form_ = true;
  while (!text.empty()) {
    const size_t end = std::min(text.find('&'), text.size());
    const std::string_view one = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (one.empty()) continue;
    const size_t equals = std::min(one.find('='), one.size());
    PTG_TRY(std::string name, Decoded(one.substr(0, equals)));
    PTG_TRY(std::string value, Decoded(one.substr(std::min(equals + 1, one.size()))));
    PTG_RUN(fields.Add(std::move(name), std::move(value)));
  }
  return fields;
}

Result<Fields> Fields::OfQuery(std::string_view target) {
  const size_t mark = target.find('?');
  return ReadForm(mark == target.npos ? std::string_view() : target.substr(mark + 1));
}

Result<Fields> Fields::Read(std::string_view content_type, std::string_view body) {
  std::string_view type = content_type.substr(0, content_type.find(';'));
  while (type.ends_with(' ')) type.remove_suffix(1);
  if (net::EqualsNoCase(type, "application/x-www-form-urlencoded")) return ReadForm(body);
  codec::JsonLimits limits;
  limits.max_bytes = kMaxBody;
  limits.max_depth = 4;
  const std::string_view text = body.empty() ? std::string_view("{}") : body;
  PTG_TRY(const Json json, codec::ParseJson(text, limits));
  const std::vector<codec::JsonMember>* members = json.AsObject();
  if (members == nullptr) {
    return Fail(Error(Code::kBadRequest, "the body is no JSON object")
                    .Want("{\"plan\": \"pro\"}, or a form"));
  }
  Fields fields;
  for (const codec::JsonMember& member : *members) {
    if (member.value.IsNull()) continue;
    if (member.value.AsString() == nullptr) {
      return Fail(
          Error(Code::kBadRequest, "this is no text").At("/" + member.key).Want("a string"));
    }
    PTG_RUN(fields.Add(member.key, *member.value.AsString()));
  }
  return fields;
}

std::string_view Fields::Get(std::string_view name) const {
  for (const auto& [key, value] : all_) {
    if (key == name) return value;
  }
  return {};
}

}  // namespace pontage::web
