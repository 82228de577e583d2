#include <algorithm>
#include <cstring>
#include <utility>

#include "base/try.h"
#include "chain/evm_calls.h"
#include "settle/local_facilitator.h"

// What a local facilitator asks a chain about a payment.
namespace pontage::settle {
namespace {

// As long as the official facilitator remembers it; a contract at a listed address does not go
// away.
constexpr Millis kContractSeen{15 * 60 * 1000};
// What a transfer to one payee takes differs by a payer whose balance it empties and by the zeros
// of a signature: less than the quarter that is given on top.
constexpr Millis kGasKnown{5 * 60 * 1000};
// How long what Verify heard is good for settling. Most sales settle within a second; what has
// changed meanwhile, the simulation finds.
constexpr Millis kVerifiedKnown{30'000};
// A wallet that was reverted may try again then.
constexpr Millis kNotAskedFor{10 * 60 * 1000};
constexpr size_t kMaxBrokenWords = 10'000;
// Payees of one facilitator; with more, notes are made anew.
constexpr size_t kMaxGasNotes = 10'000;

crypto::Signature65 SignatureOf(const scheme::ExactEvm& check) {
  crypto::Signature65 signature{};
  std::copy_n(check.payload.signature.begin(), signature.size(), signature.begin());
  return signature;
}

size_t SlotOf(const crypto::Hash32& digest, size_t slots) {
  uint64_t first = 0;
  std::memcpy(&first, digest.data(), sizeof first);
  return first % slots;
}

}  // namespace

scheme::ExactEvm LocalFacilitator::InItsTime(scheme::ExactEvm check) {
  const codec::Uint256 margin(static_cast<uint64_t>(scheme::kSettleMarginS));
  const Result<codec::Uint256> then = Sub(check.payload.auth.valid_before, margin);
  check.now_s = static_cast<int64_t>(then ? then->ToU64().value_or(0) : 0);
  return check;
}

Task<chain::TransferFacts> LocalFacilitator::AskOnce(const Prepared& p, bool estimate,
                                                     Deadline by) {
  const std::pair known{p.network, p.check.want.asset};
  chain::TransferQuestion question;
  question.asset = p.check.want.asset;
  question.payer = p.check.payload.auth.from;
  question.nonce = p.check.payload.auth.nonce;
  question.calldata = CallOf(p);
  if (p.chain->signers != nullptr) question.sender = p.chain->signers->address();
  question.estimate = estimate;
  {
    const std::lock_guard lock(mutex_);
    const auto at = contracts_.find(known);
    question.ask_asset_code = at == contracts_.end() || at->second <= clock_.Steady();
  }
  const bool asked = question.ask_asset_code;
  chain::EvmView& view = *p.chain->view;
  PTG_CO_TRY(const chain::TransferFacts facts,
             co_await (p.quorum ? view.AskTransferOfTwo(std::move(question), by)
                                : view.AskTransfer(std::move(question), by)));
  if (asked && facts.asset_has_code) {
    const std::lock_guard lock(mutex_);
    contracts_[known] = clock_.Steady() + kContractSeen;
  }
  co_return facts;
}

// A batch may be answered across two blocks: then the simulation fails over a transfer that the
// reads before it had not seen. The second answer tells why.
Task<chain::TransferFacts> LocalFacilitator::Facts(const Prepared& p, bool estimate, Deadline by) {
  PTG_CO_TRY(const chain::TransferFacts facts, co_await AskOnce(p, estimate, by));
  const bool puzzling = !facts.succeeds && !facts.nonce_used &&
                        (!facts.payer_has_code || p.check.wallet.has_value()) &&
                        facts.balance >= p.check.payload.auth.value;
  if (!puzzling) co_return facts;
  co_return co_await AskOnce(p, estimate, by);
}

codec::Bytes LocalFacilitator::CallOf(const Prepared& p) const {
  const chain::TransferAuthorization& auth = p.check.payload.auth;
  if (p.check.wallet) {
    return chain::CallTransferWithAuthorizationBytes(auth, p.check.payload.signature);
  }
  return chain::CallTransferWithAuthorization(auth, SignatureOf(p.check));
}

bool LocalFacilitator::BrokeItsWord(const crypto::EvmAddress& wallet) {
  const std::lock_guard lock(mutex_);
  const auto at = broken_words_.find(wallet);
  return at != broken_words_.end() && clock_.Steady() < at->second;
}

void LocalFacilitator::NoteBrokenWord(const crypto::EvmAddress& wallet) {
  const std::lock_guard lock(mutex_);
  const SteadyMs now = clock_.Steady();
  std::erase_if(broken_words_, [now](const auto& one) { return one.second <= now; });
  if (broken_words_.size() >= kMaxBrokenWords) broken_words_.clear();
  broken_words_[wallet] = now + kNotAskedFor;
}

Task<> LocalFacilitator::AskWallet(Prepared& p, Deadline by) {
  if (BrokeItsWord(p.check.payload.auth.from)) {
    p.check.wallet = false;
    co_return {};
  }
  std::vector<chain::Call> calls(1);
  calls[0].target = p.check.payload.auth.from;
  calls[0].data = chain::CallIsValidSignature(scheme::DigestOf(p.check), p.check.payload.signature);
  chain::EvmView& view = *p.chain->view;
  PTG_CO_TRY(const std::vector<chain::CallResult> answers,
             co_await (p.quorum ? view.CallsOfTwo(std::move(calls), by)
                                : view.Calls(std::move(calls), by)));
  p.check.wallet = answers[0].success && chain::SaysValidSignature(answers[0].data);
  co_return {};
}

void LocalFacilitator::Recognise(Prepared& p) {
  if (!scheme::CheckTerms(p.check) && !scheme::CheckTerms(InItsTime(p.check))) return;
  p.digest = scheme::DigestOf(p.check);
  const Result<crypto::EvmAddress> signer = keys_.Recover(*p.digest, p.check.payload.signature);
  // What is wrong with the signature, CheckExactEvm says.
  if (signer) p.check.signer = *signer;
}

Task<> LocalFacilitator::MeetPayer(Prepared& p, Deadline by) {
  Recognise(p);
  const auto fault = [](const scheme::ExactEvm& check) {
    const Result<> good = scheme::CheckExactEvm(check);
    return good ? Code::kInternal : good.error().code();
  };
  Code code = fault(p.check);
  if (scheme::IsUntimely(code)) code = fault(InItsTime(p.check));
  if (code != Code::kPaymentSignature && code != Code::kPaymentSignatureForm) co_return {};
  std::vector<crypto::EvmAddress> payer{p.check.payload.auth.from};
  PTG_CO_TRY(const std::vector<bool> code_there,
             co_await p.chain->view->HaveCode(std::move(payer), by));
  if (code_there[0]) PTG_CO_RUN(co_await AskWallet(p, by));
  co_return {};
}

Task<> LocalFacilitator::Examine(Prepared& p, Gas gas, Deadline by) {
  std::optional<uint64_t> known = gas == Gas::kYes ? KnownGas(p) : std::nullopt;
  const bool estimate = gas == Gas::kYes && !known;
  PTG_CO_TRY(chain::TransferFacts facts, co_await Facts(p, estimate, by));
  if (facts.payer_has_code && !p.check.wallet) {
    // His key signed, but he has code (EIP-7702): only that counts.
    PTG_CO_RUN(co_await AskWallet(p, by));
    known.reset();
    PTG_CO_TRY(facts, co_await Facts(p, gas == Gas::kYes, by));
  }
  if (known) {
    facts.gas = *known;
  } else if (facts.succeeds && facts.gas > 0) {
    RememberGas(p, facts.gas);
  }
  p.check.facts = facts;
  co_return {};
}

// Only where nobody else's word is needed: no contract wallet, no second node.
void LocalFacilitator::NoteVerified(const Prepared& p) {
  if (p.check.wallet || p.quorum || !p.check.facts || p.chain->signers == nullptr) return;
  if (!p.digest) return;
  const std::lock_guard lock(mutex_);
  verified_[SlotOf(*p.digest, verified_.size())] = {*p.digest, *p.check.facts,
                                                    clock_.Steady() + kVerifiedKnown};
}

void LocalFacilitator::RecallVerified(Prepared& p) {
  if (p.check.wallet || p.quorum || p.chain->signers == nullptr || !p.digest) return;
  const std::optional<uint64_t> gas = KnownGas(p);
  if (!gas) return;
  const crypto::Hash32& digest = *p.digest;
  const std::lock_guard lock(mutex_);
  VerifiedNote& note = verified_[SlotOf(digest, verified_.size())];
  if (note.digest != digest || note.until <= clock_.Steady()) return;
  p.check.facts = note.facts;
  p.check.facts->gas = *gas;
  note = {};
}

// A contract wallet's share of the gas is its own affair.
std::optional<uint64_t> LocalFacilitator::KnownGas(const Prepared& p) {
  if (p.check.wallet) return std::nullopt;
  const std::lock_guard lock(mutex_);
  const auto at = gas_.find({p.network, p.check.want.asset, p.check.want.pay_to});
  if (at == gas_.end() || at->second.until <= clock_.Steady()) return std::nullopt;
  return at->second.gas;
}

void LocalFacilitator::RememberGas(const Prepared& p, uint64_t gas) {
  if (p.check.wallet) return;
  const std::lock_guard lock(mutex_);
  if (gas_.size() >= kMaxGasNotes) gas_.clear();
  gas_[{p.network, p.check.want.asset, p.check.want.pay_to}] = {gas, clock_.Steady() + kGasKnown};
}

void LocalFacilitator::ForgetGas(const Prepared& p) {
  const std::lock_guard lock(mutex_);
  gas_.erase({p.network, p.check.want.asset, p.check.want.pay_to});
}

}  // namespace pontage::settle
