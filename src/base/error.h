#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <utility>

namespace pontage {

// Every way a request can fail. Numbers and slugs are part of the public API: add before kCount_,
// never renumber. wire/problem/error_map.cc holds one row for each: HTTP status, JSON-RPC code, the
// x402 reasons of both versions and a title.
enum class Code : uint16_t {
  kInternal = 0,
  // The request itself.
  kBadRequest,
  kNotFound,
  kMethodNotAllowed,
  kBodyTooLarge,
  kHeadTooLarge,
  kUnauthorized,
  kForbidden,
  kConflict,
  kRateLimited,
  kOverloaded,
  kTimeout,
  // What we stand on.
  kConfig,
  kUsage,
  kStore,
  kUpstreamUnreachable,
  kUpstreamTimeout,
  kUpstreamProtocol,
  kChainUnreachable,
  kFacilitatorUnreachable,
  kFacilitatorAnswer,
  kConnection,
  // A payment, in the order of the checks.
  kPaymentRequired,
  kPaymentMalformed,
  kPaymentVersion,
  kPaymentScheme,
  kPaymentNetwork,
  kPaymentNoMatch,
  kPaymentResource,
  kPaymentRequirements,
  kPaymentDomain,
  kPaymentAsset,
  kPaymentRecipient,
  kPaymentAmount,
  kPaymentExpired,
  kPaymentEarly,
  kPaymentWindow,
  kPaymentSignatureForm,
  kPaymentSignature,
  kPaymentContractWallet,
  kPaymentReplayed,
  kPaymentFunds,
  kPaymentSimulation,
  kPaymentExtension,
  kPaymentAlreadyUsed,
  kPaymentInFlight,
  // Settlement.
  kSettleFailed,
  kSettleTransfer,
  kSettlePending,
  kSettleUnknown,
  // The buyer's own limits.
  kBuyerPolicy,
  // x402 transports and the facilitator's doors.
  kPaymentTransfer,
  kFacilitatorPolicy,
  kUnsupported,
  kPaymentLapsed,
  kPaymentRefused,
  // An upstream that takes no more work now.
  kUpstreamBusy,
  kUpstreamDown,
  kCount_,
};

// What went wrong, where, and what would have been right. The three texts are safe to show to the
// caller; anything that is not goes to the log at the place where the error is made.
class [[nodiscard]] Error {
 public:
  Error(Code code, std::string detail) : code_(code), detail_(std::move(detail)) {}

  // RFC 6901: the field at fault.
  Error&& At(std::string pointer) && {
    pointer_ = std::move(pointer);
    return std::move(*this);
  }
  // What a right value looks like.
  Error&& Want(std::string form) && {
    expected_ = std::move(form);
    return std::move(*this);
  }
  // The protocol's own word for it, when it came from somebody else's facilitator.
  Error&& Because(std::string reason) && {
    reason_ = std::move(reason);
    return std::move(*this);
  }

  Code code() const { return code_; }
  const std::string& detail() const { return detail_; }
  const std::string& pointer() const { return pointer_; }
  const std::string& expected() const { return expected_; }
  const std::string& reason() const { return reason_; }

 private:
  Code code_;
  std::string detail_;
  std::string pointer_;
  std::string expected_;
  std::string reason_;
};

template <typename T = void>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> Fail(Error error) { return std::unexpected(std::move(error)); }
inline std::unexpected<Error> Fail(Code code, std::string detail) {
  return std::unexpected(Error(code, std::move(detail)));
}

}  // namespace pontage
