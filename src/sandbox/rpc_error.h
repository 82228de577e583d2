#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"

namespace pontage::sandbox {

// The error member of a JSON-RPC answer. Codes and texts are anvil's, because clients read both.
struct RpcError {
  int64_t code;
  std::string message;
  std::optional<std::string> data = std::nullopt;  // Revert data, as 0x and hex digits.

  RpcError(int64_t c, std::string m) : code(c), message(std::move(m)) {}
  // A parameter that does not parse.
  RpcError(const Error& error)  // NOLINT: so that PTG_TRY turns one into the other.
      : code(-32602), message(error.detail()) {}
};
template <typename T = void>
using RpcResult = std::expected<T, RpcError>;

inline constexpr int64_t kRpcReverted = 3;
inline constexpr int64_t kRpcServer = -32000;
inline constexpr int64_t kRpcNotFound = -32001;
inline constexpr int64_t kRpcRejected = -32003;  // A transaction that the pool does not take.
inline constexpr int64_t kRpcParse = -32700;
inline constexpr int64_t kRpcInvalidRequest = -32600;
inline constexpr int64_t kRpcNoMethod = -32601;
inline constexpr int64_t kRpcBadParams = -32602;

inline std::unexpected<RpcError> RpcFail(int64_t code, std::string message) {
  return std::unexpected(RpcError(code, std::move(message)));
}

}  // namespace pontage::sandbox
