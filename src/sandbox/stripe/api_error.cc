#include "sandbox/stripe/api_error.h"

#include <algorithm>
#include <utility>

namespace pontage::sandbox::stripe {

using codec::Json;

std::unexpected<ApiError> Refuse(std::string code, std::string message, std::string param) {
  ApiError error;
  error.code = std::move(code);
  error.message = std::move(message);
  error.param = std::move(param);
  return std::unexpected(std::move(error));
}

std::unexpected<ApiError> NoSuch(std::string_view object, std::string_view id, std::string param) {
  ApiError error;
  error.status = 404;
  error.code = "resource_missing";
  error.message = "No such " + std::string(object) + ": '" + std::string(id) + "'";
  error.param = std::move(param);
  return std::unexpected(std::move(error));
}

std::unexpected<ApiError> NotHere(const std::string& name, const std::string& value) {
  return Refuse("", "This sandbox does not do " + name + '=' + value + '.', name);
}

std::unexpected<ApiError> NoMethod() {
  return Refuse("resource_missing",
                "This customer has no attached payment source or default payment method.");
}

Json ToJson(const ApiError& error, std::string_view request_id) {
  Json inner = Json::Object();
  if (!error.code.empty()) {
    std::string page = error.code;
    std::ranges::replace(page, '_', '-');
    inner.Set("code", error.code);
    inner.Set("doc_url", "https://stripe.com/docs/error-codes/" + page);
  }
  if (!error.decline_code.empty()) inner.Set("decline_code", error.decline_code);
  inner.Set("message", error.message);
  if (!error.param.empty()) inner.Set("param", error.param);
  inner.Set("request_log_url", "https://dashboard.stripe.com/test/logs/" + std::string(request_id));
  inner.Set("type", error.type);
  return Json::Object({{"error", std::move(inner)}});
}

}  // namespace pontage::sandbox::stripe
