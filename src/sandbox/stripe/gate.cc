#include "sandbox/stripe/gate.h"

#include <algorithm>
#include <utility>

#include "base/try.h"
#include "codec/base64.h"
#include "codec/hex.h"
#include "crypto/hash.h"
#include "net/message.h"
#include "sandbox/stripe/fields.h"
#include "sandbox/stripe/ids.h"
#include "sandbox/stripe/versions.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

constexpr Millis kSecond{1'000};

std::unexpected<ApiError> Unauthorized(std::string message) {
  ApiError error;
  error.status = 401;
  error.message = std::move(message);
  return std::unexpected(std::move(error));
}

// The key out of "Bearer sk_test_…" or of Basic with the key as the user and no password.
std::string KeyOf(std::string_view authorization) {
  const size_t space = std::min(authorization.find(' '), authorization.size());
  const std::string_view scheme = authorization.substr(0, space);
  std::string_view rest = authorization.substr(std::min(space + 1, authorization.size()));
  if (net::EqualsNoCase(scheme, "bearer")) return std::string(rest);
  if (!net::EqualsNoCase(scheme, "basic")) return {};
  const Result<std::string> pair = codec::DecodeBase64(rest);
  return pair ? pair->substr(0, pair->find(':')) : std::string();
}

Answered<> CheckKey(std::string_view authorization) {
  const std::string key = KeyOf(authorization);
  if (key.empty()) {
    return Unauthorized(
        "You did not provide an API key. You need to provide your API key in the Authorization "
        "header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').");
  }
  for (const std::string_view prefix : {"sk_test_", "rk_test_"}) {
    if (key.starts_with(prefix) && key.size() > prefix.size()) return {};
  }
  // As much of it as Stripe shows.
  const size_t shown = std::min<size_t>(key.size(), 8);
  return Unauthorized("Invalid API Key provided: " + key.substr(0, shown) + "****");
}

// Whether `path` is `pattern`, whose ":id" takes one step.
bool Matches(std::string_view pattern, std::string_view path, std::string& id) {
  constexpr std::string_view kId = ":id";
  const size_t at = pattern.find(kId);
  if (at == std::string_view::npos) return pattern == path;
  const std::string_view after = pattern.substr(at + kId.size());
  if (path.size() <= at + after.size() || !path.starts_with(pattern.substr(0, at)) ||
      !path.ends_with(after)) {
    return false;
  }
  const std::string_view step = path.substr(at, path.size() - at - after.size());
  if (step.find('/') != std::string_view::npos) return false;
  const std::optional<std::string> decoded = DecodeFormText(step);
  id = decoded.value_or("");
  return decoded.has_value();
}

ApiError Injected(int status) {
  ApiError error;
  error.status = status;
  error.type = status == 429 ? "invalid_request_error" : "api_error";
  if (status == 429) error.code = "rate_limit";
  error.message = status == 429 ? "Request rate limit exceeded. Learn more about rate limits here: "
                                  "https://stripe.com/docs/rate-limits."
                                : "An unknown error occurred";
  return error;
}

Answered<FormNode> FormOfJson(std::string_view body) {
  codec::JsonLimits limits;
  limits.max_bytes = kMaxFormBytes;
  const Result<Json> json = codec::ParseJson(body, limits);
  if (!json || !json->IsObject()) return Refuse("", "The body is no JSON object.");
  FormNode form;
  for (const codec::JsonMember& member : *json->AsObject()) {
    const std::string* text = member.value.AsString();
    // A list of numbers reads as its members with commas between: fail_next.
    std::string value = text != nullptr ? *text : ToString(member.value);
    if (member.value.IsArray()) value = value.substr(1, value.size() - 2);
    if (member.value.IsNull()) value.clear();
    if (member.value.IsObject()) return Refuse("", "A member is an object.", member.key);
    form.members.push_back({member.key, {std::move(value), {}}});
  }
  return form;
}

}  // namespace

Answered<FormNode> FormOf(const StripeRequest& request, bool json_too) {
  const size_t question = request.target.find('?');
  std::string text = question == std::string::npos ? "" : request.target.substr(question + 1);
  if (request.body.empty()) return ParseForm(text);
  const std::string type = request.content_type.substr(0, request.content_type.find(';'));
  if (json_too && type == "application/json") return FormOfJson(request.body);
  if (!type.empty() && type != "application/x-www-form-urlencoded") {
    return Refuse("",
                  "Invalid request (check that your POST content type is "
                  "application/x-www-form-urlencoded).");
  }
  if (!text.empty()) text += '&';
  return ParseForm(text + request.body);
}

Gate::Gate(Account& account) : account_(account) {
  AddCustomerRoutes(routes_);
  AddCatalogRoutes(routes_);
  AddSessionRoutes(routes_);
  AddSubscriptionRoutes(routes_);
  AddSubscriptionCreation(routes_);
  AddInvoiceRoutes(routes_);
  AddPaymentRoutes(routes_);
  AddPortalRoutes(routes_);
  AddEventRoutes(routes_);
}

const Route* Gate::RouteOf(std::string_view method, std::string_view path, std::string& id) const {
  for (const Route& route : routes_) {
    if (route.method == method && Matches(route.path, path, id)) return &route;
  }
  return nullptr;
}

Answered<> Gate::CheckRate() {
  const auto limit = static_cast<size_t>(account_.faults.rate_limit);
  if (limit == 0) {
    recent_.clear();
    return {};
  }
  const UnixMs now = account_.clock.Real();
  while (!recent_.empty() && recent_.front() + kSecond <= now) recent_.pop_front();
  if (recent_.size() >= limit) return std::unexpected(Injected(429));
  recent_.push_back(now);
  return {};
}

Answered<Json> Gate::Run(const StripeRequest& request, std::string_view path,
                         const FormNode& form) {
  Call call{.account = account_, .params = Params(form)};
  const Route* route = RouteOf(request.method, path, call.id);
  if (route == nullptr) {
    auto unknown = Refuse("", "Unrecognized request URL (" + request.method + ": " +
                                  std::string(path) + "). Please see https://stripe.com/docs.");
    unknown.error().status = 404;
    return unknown;
  }
  PTG_RUN(call.params.Only(route->params));
  if (request.method == "POST" && account_.store.full()) {
    return Refuse("", "This sandbox is full: start it again.");
  }
  PTG_TRY(Json json, route->run(call));
  PTG_RUN(Expand(account_, json, call.params));
  return json;
}

Answered<StripeAnswer> Gate::Answer(const StripeRequest& request, const std::string& request_id) {
  PTG_RUN(CheckKey(request.authorization));
  if (!request.version.empty() && !VersionOf(request.version)) {
    return Refuse("", "Invalid Stripe API version: " + request.version);
  }
  PTG_RUN(CheckRate());
  const std::string_view path =
      std::string_view(request.target).substr(0, request.target.find('?'));
  PTG_TRY(const FormNode form, FormOf(request, false));
  const std::string& key = request.idempotency_key;
  if (key.size() > KeptAnswers::kMaxKey || !IsUtf8(key)) {
    return Refuse("", "Idempotency keys can have up to 255 characters.");
  }
  const bool keyed = !key.empty() && request.method == "POST";
  const std::string question = codec::ToHex(crypto::Sha256(
      codec::AsBytes(request.method + ' ' + std::string(path) + '\n' + Canonical(form))));
  StripeAnswer answer;
  if (const KeptAnswers::Kept* kept = keyed ? kept_.Find(key, account_.clock.Now()) : nullptr) {
    if (kept->question != question) {
      auto other = Refuse("",
                          "Keys for idempotent requests can only be used with the same "
                          "parameters they were first used with. Try using a key other than '" +
                              key + "' if you meant to execute a different request.");
      other.error().type = "idempotency_error";
      return other;
    }
    answer.status = kept->status;
    answer.body = kept->body;
    answer.headers = {{"Idempotent-Replayed", "true"}, {"Original-Request", kept->request_id}};
    return answer;
  }
  if (!account_.faults.fail_next.empty()) {
    const ApiError error = Injected(account_.faults.fail_next.front());
    account_.faults.fail_next.pop_front();
    if (keyed && account_.faults.keep_failures) {
      kept_.Keep(key, {question, error.status, ToString(ToJson(error, request_id)), request_id},
                 account_.clock.Now());
    }
    return std::unexpected(error);
  }
  account_.request = {request_id, key};
  Answered<Json> json = Run(request, path, form);
  account_.request = {};
  if (!json) return std::unexpected(std::move(json).error());
  answer.body = ToString(*json);
  if (keyed) {
    kept_.Keep(key, {question, answer.status, answer.body, request_id}, account_.clock.Now());
  }
  return answer;
}

StripeAnswer Gate::Handle(const StripeRequest& request) {
  const std::string request_id = NewId("req_", kShortId, account_.rng);
  Answered<StripeAnswer> made = Answer(request, request_id);
  StripeAnswer answer;
  if (made) {
    answer = *std::move(made);
  } else {
    answer.status = made.error().status;
    answer.body = ToString(ToJson(made.error(), request_id));
    if (answer.status == 429)
      answer.headers.emplace_back("Stripe-Rate-Limited-Reason", "global-rate");
    if (answer.status == 401)
      answer.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"Stripe\"");
  }
  answer.headers.emplace_back("Request-Id", request_id);
  const bool good_version = !request.version.empty() && VersionOf(request.version);
  answer.headers.emplace_back("Stripe-Version",
                              good_version ? request.version : std::string(kApiVersion));
  if (!request.idempotency_key.empty() && request.idempotency_key.size() <= KeptAnswers::kMaxKey) {
    answer.headers.emplace_back("Idempotency-Key", request.idempotency_key);
  }
  answer.headers.emplace_back("Cache-Control", "no-cache, no-store");
  if (account_.faults.hang > 0) {
    --account_.faults.hang;
    answer.delivery = StripeAnswer::Delivery::kHang;
  } else if (account_.faults.hang_up > 0) {
    --account_.faults.hang_up;
    answer.delivery = StripeAnswer::Delivery::kHangUp;
  }
  return answer;
}

}  // namespace pontage::sandbox::stripe
