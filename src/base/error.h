#pragma once

#include <cstdint>
#include <expected>
#include <memory>
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
  // A license.
  kLicenseInvalid,
  kLicenseExpired,
  kLicenseRevoked,
  kLicenseSuspended,
  kWrongPlan,
  kWrongProduct,
  kQuotaExceeded,
  kLicenseStale,
  kCount_,
};

// What went wrong, where, and what would have been right. The three texts are safe to show to the
// caller; anything that is not goes to the log at the place where the error is made.
//
// The texts lie beside it: each step of a coroutine keeps room for the Result that it waits for,
// and what hardly ever happens shall not take a hundred bytes in all of them.
class [[nodiscard]] Error {
 public:
  Error(Code code, std::string detail)
      : code_(code), texts_(std::make_unique<Texts>(Texts{std::move(detail), {}, {}, {}})) {}
  Error(Error&&) noexcept = default;
  Error& operator=(Error&&) noexcept = default;
  Error(const Error& other) : code_(other.code_), texts_(std::make_unique<Texts>(other.texts())) {}
  Error& operator=(const Error& other) {
    if (this != &other) *this = Error(other);
    return *this;
  }
  ~Error() = default;

  // RFC 6901: the field at fault.
  Error&& At(std::string pointer) && {
    texts_->pointer = std::move(pointer);
    return std::move(*this);
  }
  // What a right value looks like.
  Error&& Want(std::string form) && {
    texts_->expected = std::move(form);
    return std::move(*this);
  }
  // The protocol's own word for it, when it came from somebody else's facilitator.
  Error&& Because(std::string reason) && {
    texts_->reason = std::move(reason);
    return std::move(*this);
  }

  Code code() const { return code_; }
  const std::string& detail() const { return texts().detail; }
  const std::string& pointer() const { return texts().pointer; }
  const std::string& expected() const { return texts().expected; }
  const std::string& reason() const { return texts().reason; }

 private:
  struct Texts {
    std::string detail;
    std::string pointer;
    std::string expected;
    std::string reason;
  };
  // Of one that was moved away: none.
  const Texts& texts() const {
    static const Texts kNone;
    return texts_ ? *texts_ : kNone;
  }

  Code code_;
  std::unique_ptr<Texts> texts_;
};

template <typename T = void>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> Fail(Error error) { return std::unexpected(std::move(error)); }
inline std::unexpected<Error> Fail(Code code, std::string detail) {
  return std::unexpected(Error(code, std::move(detail)));
}

}  // namespace pontage
