#include "wire/problem/error_map.h"

#include <array>

namespace pontage::problem {
namespace {

constexpr std::array kRows = {
    // code, slug, HTTP, JSON-RPC, x402 v1 reason, x402 v2 reason, title
    Row{Code::kInternal, "internal", 500, -32603, "unexpected_verify_error", "unexpected_error",
        "Internal error"},
    Row{Code::kBadRequest, "bad_request", 400, -32600, "", "", "Bad request"},
    Row{Code::kNotFound, "not_found", 404, -32601, "", "", "Not found"},
    Row{Code::kMethodNotAllowed, "method_not_allowed", 405, -32601, "", "", "Method not allowed"},
    Row{Code::kBodyTooLarge, "body_too_large", 413, -32600, "", "", "Body too large"},
    Row{Code::kHeadTooLarge, "head_too_large", 431, -32600, "", "", "Request head too large"},
    Row{Code::kUnauthorized, "unauthorized", 401, -32001, "", "", "Not authenticated"},
    Row{Code::kForbidden, "forbidden", 403, -32003, "", "", "Not allowed"},
    Row{Code::kConflict, "conflict", 409, -32009, "", "", "Conflict"},
    Row{Code::kRateLimited, "rate_limited", 429, -32029, "", "", "Too many requests"},
    Row{Code::kOverloaded, "overloaded", 503, -32050, "", "", "Overloaded"},
    Row{Code::kTimeout, "timeout", 504, -32051, "", "", "Timed out"},
    Row{Code::kConfig, "config", 500, -32603, "", "", "Configuration error"},
    Row{Code::kUsage, "usage", 400, -32602, "", "", "Usage error"},
    Row{Code::kStore, "store_unavailable", 503, -32052, "", "", "The ledger is not available"},
    Row{Code::kUpstreamUnreachable, "upstream_unreachable", 502, -32053, "", "",
        "The upstream cannot be reached"},
    Row{Code::kUpstreamTimeout, "upstream_timeout", 504, -32054, "", "",
        "The upstream did not answer in time"},
    Row{Code::kUpstreamProtocol, "upstream_protocol", 502, -32055, "", "",
        "The upstream's answer is no HTTP"},
    Row{Code::kChainUnreachable, "chain_unreachable", 503, -32056, "unexpected_verify_error",
        "unexpected_verify_error", "The chain cannot be reached"},
    Row{Code::kFacilitatorUnreachable, "facilitator_unreachable", 503, -32057,
        "unexpected_verify_error", "unexpected_verify_error", "The facilitator cannot be reached"},
    Row{Code::kFacilitatorAnswer, "facilitator_answer", 502, -32058, "unexpected_verify_error",
        "unexpected_verify_error", "The facilitator's answer is unreadable"},
    Row{Code::kConnection, "connection", 502, -32059, "", "", "The connection broke"},
    Row{Code::kPaymentRequired, "payment_required", 402, 402, "", "", "Payment required"},
    Row{Code::kPaymentMalformed, "payment_malformed", 402, 402, "invalid_payload",
        "invalid_payload", "The payment cannot be read"},
    Row{Code::kPaymentVersion, "payment_version", 402, 402, "invalid_x402_version",
        "invalid_x402_version", "Wrong x402 version"},
    Row{Code::kPaymentScheme, "payment_scheme", 402, 402, "unsupported_scheme",
        "unsupported_scheme", "Scheme not supported"},
    Row{Code::kPaymentNetwork, "payment_network", 402, 402, "invalid_network",
        "invalid_exact_evm_network_mismatch", "Wrong network"},
    Row{Code::kPaymentNoMatch, "payment_no_match", 402, 402,
        "Unable to find matching payment requirements", "No matching payment requirements",
        "The payment matches nothing on offer"},
    Row{Code::kPaymentResource, "payment_resource", 402, 402, "invalid_payment",
        "invalid_payment_resource", "The payment names another resource"},
    Row{Code::kPaymentRequirements, "payment_requirements", 402, 402,
        "invalid_payment_requirements", "invalid_payment_requirements",
        "The requirements cannot be read"},
    Row{Code::kPaymentDomain, "payment_domain", 402, 402, "invalid_payment_requirements",
        "invalid_exact_evm_missing_eip712_domain", "Wrong signing domain"},
    Row{Code::kPaymentAsset, "payment_asset", 402, 402, "invalid_payment_requirements",
        "asset_not_deployed_contract", "The asset is no contract"},
    Row{Code::kPaymentRecipient, "payment_recipient", 402, 402,
        "invalid_exact_evm_payload_recipient_mismatch", "invalid_exact_evm_recipient_mismatch",
        "Paid to someone else"},
    Row{Code::kPaymentAmount, "payment_amount", 402, 402,
        "invalid_exact_evm_payload_authorization_value",
        "invalid_exact_evm_payload_authorization_value_mismatch", "Wrong amount"},
    Row{Code::kPaymentExpired, "payment_expired", 402, 402,
        "invalid_exact_evm_payload_authorization_valid_before",
        "invalid_exact_evm_payload_authorization_valid_before", "No longer valid"},
    Row{Code::kPaymentEarly, "payment_early", 402, 402,
        "invalid_exact_evm_payload_authorization_valid_after",
        "invalid_exact_evm_payload_authorization_valid_after", "Not yet valid"},
    Row{Code::kPaymentWindow, "payment_window", 402, 402,
        "invalid_exact_evm_payload_authorization_valid_before",
        "invalid_exact_evm_payload_authorization_valid_before", "Valid for too long"},
    Row{Code::kPaymentSignatureForm, "payment_signature_form", 402, 402,
        "invalid_exact_evm_payload_signature", "invalid_exact_evm_signature",
        "Malformed signature"},
    Row{Code::kPaymentSignature, "payment_signature", 402, 402,
        "invalid_exact_evm_payload_signature", "invalid_exact_evm_signature",
        "Not the payer's signature"},
    Row{Code::kPaymentContractWallet, "payment_contract_wallet", 402, 402,
        "invalid_exact_evm_payload_signature", "invalid_exact_evm_signature",
        "The contract wallet cannot pay"},
    Row{Code::kPaymentReplayed, "payment_replayed", 402, 402, "invalid_transaction_state",
        "invalid_exact_evm_nonce_already_used", "The authorization was used"},
    Row{Code::kPaymentFunds, "payment_funds", 402, 402, "insufficient_funds",
        "invalid_exact_evm_insufficient_balance", "Not enough funds"},
    Row{Code::kPaymentSimulation, "payment_simulation", 402, 402, "invalid_transaction_state",
        "invalid_exact_evm_transaction_simulation_failed", "The transfer would fail"},
    Row{Code::kPaymentExtension, "payment_extension", 402, 402, "extension_echo_mismatch",
        "extension_echo_mismatch", "An extension was not echoed"},
    Row{Code::kPaymentAlreadyUsed, "payment_already_used", 402, 402, "payment_already_used",
        "payment_already_used", "The payment was used before"},
    Row{Code::kPaymentInFlight, "payment_in_flight", 409, -32009, "payment_in_flight",
        "payment_in_flight", "A request with this payment is running"},
    Row{Code::kSettleFailed, "settle_failed", 402, 402, "invalid_transaction_state",
        "invalid_exact_evm_transaction_failed", "The payment could not be settled"},
    Row{Code::kSettleTransfer, "settle_transfer", 402, 402, "invalid_transaction_state",
        "invalid_exact_evm_transfer_event_mismatch", "No matching transfer"},
    Row{Code::kSettlePending, "settlement_pending", 503, -32060, "settlement_pending",
        "settlement_pending", "The settlement is not known yet"},
    Row{Code::kSettleUnknown, "settlement_unknown", 503, -32061, "settlement_pending",
        "settlement_pending", "The settlement is not known yet"},
    Row{Code::kBuyerPolicy, "buyer_policy", 402, 402, "", "", "Against the buyer's policy"},
    Row{Code::kPaymentTransfer, "payment_transfer", 402, 402, "invalid_payload",
        "unsupported_payload_type", "Transfer method not supported"},
    Row{Code::kFacilitatorPolicy, "facilitator_policy", 403, -32003, "", "",
        "The facilitator does not settle this"},
    Row{Code::kUnsupported, "unsupported", 501, -32004, "", "", "Not supported"},
    Row{Code::kPaymentLapsed, "payment_lapsed", 402, 402, "payment_lapsed", "payment_lapsed",
        "The payment lapsed without a charge"},
    Row{Code::kPaymentRefused, "payment_refused", 402, 402, "invalid_payment", "invalid_payment",
        "The facilitator refused the payment"},
    Row{Code::kUpstreamBusy, "upstream_busy", 503, -32062, "", "", "The upstream is busy"},
    Row{Code::kUpstreamDown, "upstream_down", 503, -32063, "", "", "The upstream is down"},
    Row{Code::kLicenseInvalid, "license_invalid", 401, -32010, "", "", "The license is not valid"},
    Row{Code::kLicenseExpired, "license_expired", 401, -32011, "", "", "The license has expired"},
    Row{Code::kLicenseRevoked, "license_revoked", 401, -32012, "", "", "The license was revoked"},
    Row{Code::kLicenseSuspended, "license_suspended", 401, -32013, "", "",
        "The license is suspended"},
    Row{Code::kWrongPlan, "wrong_plan", 403, -32014, "", "", "Another plan opens this"},
    Row{Code::kWrongProduct, "wrong_product", 403, -32015, "", "", "Another product's license"},
    Row{Code::kQuotaExceeded, "quota_exceeded", 429, -32016, "", "", "The plan's limit is used up"},
    Row{Code::kLicenseStale, "license_stale", 503, -32017, "", "",
        "Licenses cannot be believed for now"},
};

constexpr bool EveryCodeHasItsRow() {
  if (kRows.size() != static_cast<size_t>(Code::kCount_)) return false;
  for (size_t i = 0; i < kRows.size(); ++i) {
    if (static_cast<size_t>(kRows[i].code) != i) return false;
  }
  return true;
}
static_assert(EveryCodeHasItsRow(), "a Code was added without a row, or out of order");

}  // namespace

const Row& RowOf(Code code) { return kRows[static_cast<size_t>(code)]; }
const Row* begin() { return kRows.data(); }
const Row* end() { return kRows.data() + kRows.size(); }

std::string Reason(const Error& error, int x402_version) {
  if (!error.reason().empty()) return error.reason();
  const Row& row = RowOf(error.code());
  const std::string_view reason = x402_version == 1 ? row.reason_v1 : row.reason_v2;
  if (!reason.empty()) return std::string(reason);
  return x402_version == 1 ? "unexpected_verify_error" : "unexpected_error";
}

Code CodeOfReason(std::string_view reason, Code otherwise) {
  for (const Row& row : kRows) {
    // It shares its reason with a signature that is somebody else's, which is what others mean.
    if (row.code == Code::kPaymentSignatureForm) continue;
    // Only a gateway knows which resource a payment is shown for, and only a payment is refused.
    if (row.code == Code::kPaymentResource || row.http != 402) continue;
    if (!reason.empty() && (row.reason_v2 == reason || row.reason_v1 == reason)) return row.code;
  }
  return otherwise;
}

codec::Json ToJson(const Error& error) { return ToJson(error, RowOf(error.code()).http); }

codec::Json ToJson(const Error& error, int status) {
  const Row& row = RowOf(error.code());
  codec::Json json = codec::Json::Object({{"type", "urn:pontage:problem:" + std::string(row.slug)},
                                          {"title", row.title},
                                          {"status", status},
                                          {"code", row.slug},
                                          {"detail", error.detail()}});
  if (!error.pointer().empty()) json.Set("pointer", error.pointer());
  if (!error.expected().empty()) json.Set("expected", error.expected());
  return json;
}

}  // namespace pontage::problem
