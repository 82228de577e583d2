#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "base/time.h"
#include "codec/json.h"
#include "net/message.h"
#include "net/server.h"

// Whole answers of small APIs: JSON, problems, pages, and the fields of what was asked.
namespace pontage::web {

// A whole answer.
struct Answer {
  int status = 200;
  std::string type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};
Answer JsonAnswer(const codec::Json& json);
// problem+json with the status of its row, Retry-After for what is worth trying again.
Answer ProblemAnswer(const Error& error);
// 303 See Other.
Answer SeeOther(std::string_view url);
// A page of ours: no script, nothing from elsewhere, forms only to ourselves and to Stripe.
Answer PageAnswer(std::string html);

// With X-Request-Id (one of its own where `answer` has none) and Cache-Control: no-store.
Task<> SendAnswer(net::ResponseWriter& out, Answer answer, const Clock& clock, Rng& rng);

// "/a/b" of "/a/b?c".
inline std::string_view PathOf(std::string_view target) {
  return target.substr(0, target.find('?'));
}

// The members of a request, whether they came as a form or as one JSON object of strings.
class Fields {
 public:
  // A form has no more of them here.
  static constexpr size_t kMost = 32;
  static constexpr size_t kMaxBody = 16 << 10;

  // By the request's Content-Type. kBadRequest for what cannot be read, a member given twice or a
  // JSON member that is no string.
  static Result<Fields> Read(std::string_view content_type, std::string_view body);
  // Of a query, "?a=1&b=2".
  static Result<Fields> OfQuery(std::string_view target);

  // "" when it is not there.
  std::string_view Get(std::string_view name) const;
  // In the order they came.
  const std::vector<std::pair<std::string, std::string>>& all() const { return all_; }
  // Whether it came from a page's form: who sent it is a browser that wants to be led on.
  bool form() const { return form_; }

 private:
  static Result<Fields> ReadForm(std::string_view text);
  Result<> Add(std::string name, std::string value);
  std::vector<std::pair<std::string, std::string>> all_;
  bool form_ = false;
};

}  // namespace pontage::web
