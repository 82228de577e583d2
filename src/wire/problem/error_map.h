#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "codec/json.h"

// The only place where a Code meets a protocol: HTTP (RFC 9457), JSON-RPC and the x402 reasons.
// docs/reference/errors.md is printed from these rows.
namespace pontage::problem {

struct Row {
  Code code;
  std::string_view slug;  // the `code` member, and the end of the problem's type
  int http;
  int json_rpc;
  // x402 reasons of both versions for scheme exact on EVM chains; empty where the failure is none
  // of a payment's. The official clients and servers compare some of them, so they are their
  // spelling.
  std::string_view reason_v1;
  std::string_view reason_v2;
  std::string_view title;
};

const Row& RowOf(Code code);
// All of them, in the order of the codes.
const Row* begin();
const Row* end();

// The reason of `error` in that version: its own word when it came from another facilitator, else
// the row's; never empty ("unexpected_verify_error" / "unexpected_error" for what has none).
std::string Reason(const Error& error, int x402_version);
// The Code whose row has this reason, for answers of other facilitators; `otherwise` when none has.
Code CodeOfReason(std::string_view reason, Code otherwise);

// {"type","title","status","code","detail"[,"pointer"][,"expected"]}.
codec::Json ToJson(const Error& error);
codec::Json ToJson(const Error& error, int status);
inline constexpr std::string_view kContentType = "application/problem+json";

}  // namespace pontage::problem
