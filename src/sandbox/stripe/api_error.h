#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "codec/json.h"

namespace pontage::sandbox::stripe {

// What Stripe answers instead of an object. Codes and texts are Stripe's wherever clients look at
// them.
struct ApiError {
  int status = 400;
  std::string code = {};  // "resource_missing"; empty: none
  std::string message = {};
  std::string param = {};  // as a form spells it: "line_items[0][price]"
  std::string type = "invalid_request_error";
  std::string decline_code = {};  // what the bank said of the card
};
template <typename T = void>
using Answered = std::expected<T, ApiError>;

// 400 with a code of Stripe's; without one for faults that have none there.
std::unexpected<ApiError> Refuse(std::string code, std::string message, std::string param = "");
// 404 resource_missing: "No such customer: 'cus_1'".
std::unexpected<ApiError> NoSuch(std::string_view object, std::string_view id,
                                 std::string param = "id");

// Of a value that Stripe can do something with and the sandbox cannot.
std::unexpected<ApiError> NotHere(const std::string& name, const std::string& value);
// There is no card to collect with.
std::unexpected<ApiError> NoMethod();

// {"error": {…}}, as the official clients read it.
codec::Json ToJson(const ApiError& error, std::string_view request_id);

}  // namespace pontage::sandbox::stripe
