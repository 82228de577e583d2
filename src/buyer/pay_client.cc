#include "buyer/pay_client.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/try.h"
#include "codec/hex.h"
#include "io/timer.h"

namespace pontage::buyer {
namespace {

// As browsers and the official clients have it, roughly; more is a loop.
constexpr int kMostRedirects = 5;
// A seller who asks for more patience than this between two tries gets this.
constexpr Millis kMostPatience{10'000};
constexpr Millis kPause{500};
// A block as young as this may be thrown out, and one with an earlier time be in its place.
constexpr Millis kThrownOut{60'000};

constexpr std::array<std::string_view, 2> kPaymentHeaders = {"PAYMENT-SIGNATURE", "X-PAYMENT"};

net::RequestHead HeadOf(const Wanted& wanted, const net::Url& url, const SignedPayment* payment) {
  net::RequestHead head;
  head.method = wanted.method;
  head.target = url.path;
  for (const auto& [name, value] : wanted.headers) head.headers.Add(name, value);
  if (!head.headers.Has("Accept")) head.headers.Add("Accept", "*/*");
  if (!head.headers.Has("User-Agent")) head.headers.Add("User-Agent", "pontage");
  if (payment != nullptr) head.headers.Add(payment->header_name, payment->header);
  return head;
}

bool IsRedirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// The member of a JSON object, "" when it is something else.
std::string MemberOf(const std::string& body, std::string_view key) {
  const auto json = codec::ParseJson(body);
  const codec::Json* value = json ? json->Find(key) : nullptr;
  const std::string* text = value ? value->AsString() : nullptr;
  return text ? *text : std::string();
}

Millis RetryAfter(const net::Headers& headers) {
  const std::string_view text = headers.Get("Retry-After").value_or("");
  int64_t seconds = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (fault != std::errc{} || end != text.data() + text.size() || seconds < 0) return kPause;
  return std::clamp(Millis(std::min<int64_t>(seconds, 60) * 1000), kPause, kMostPatience);
}

// The seller has the payment and is not done with it.
bool StillAtWork(const net::ResponseHead& head) {
  return (head.status == 409 || head.status == 503) && head.headers.Has("Retry-After");
}

std::string SellersWords(const net::ResponseHead& head, const std::string& body) {
  for (const std::string_view key : {"detail", "error"}) {
    if (std::string text = MemberOf(body, key); !text.empty()) return text;
  }
  if (const auto header = head.headers.Get("PAYMENT-REQUIRED")) {
    if (const auto offer = ReadOffer(header, ""); offer && !offer->error.empty())
      return offer->error;
  }
  return "status " + std::to_string(head.status);
}

}  // namespace

std::string_view ToString(Outcome outcome) {
  switch (outcome) {
    case Outcome::kFree:
      return "free";
    case Outcome::kQuoted:
      return "quoted";
    case Outcome::kPaid:
      return "paid";
    case Outcome::kServed:
      return "served";
    case Outcome::kRefused:
      return "refused";
    case Outcome::kUnknown:
      return "unknown";
  }
  return {};
}

std::optional<std::string> SameOriginTarget(const net::Url& from, std::string_view location) {
  location = location.substr(0, location.find('#'));
  const std::string origin = (from.tls ? "https://" : "http://") + from.Authority();
  if (location.empty()) return std::nullopt;
  std::string target;
  if (location.find("://") != std::string_view::npos) {
    target = std::string(location);
  } else if (location.starts_with("//")) {
    target = (from.tls ? "https:" : "http:") + std::string(location);
  } else if (location.starts_with('/')) {
    target = origin + std::string(location);
  } else {
    const std::string_view path = std::string_view(from.path).substr(0, from.path.find('?'));
    target = origin + std::string(path.substr(0, path.rfind('/') + 1)) + std::string(location);
  }
  const auto to = net::ParseUrl(target);
  if (!to || to->tls != from.tls || to->port != from.port ||
      !net::EqualsNoCase(to->host, from.host)) {
    return std::nullopt;
  }
  return target;
}

Result<> ReceiptFits(const x402::SettleAnswer& receipt, const SignedPayment& payment) {
  if (!receipt.success) {
    return Fail(Code::kSettleFailed, receipt.reason.empty() ? "not settled" : receipt.reason);
  }
  const auto network = chain::ChainId::Parse(receipt.network);
  if (!network || *network != payment.network) {
    return Fail(Code::kSettleTransfer, "the receipt is for the network " + receipt.network);
  }
  if (!receipt.payer.empty()) {
    const auto payer = crypto::EvmAddress::Parse(receipt.payer);
    if (!payer || *payer != payment.authorization.from) {
      return Fail(Code::kSettleTransfer, "the receipt is for the payer " + receipt.payer);
    }
  }
  if (receipt.amount && !receipt.amount->empty() &&
      *receipt.amount != payment.authorization.value.ToDecimal()) {
    return Fail(Code::kSettleTransfer, "the receipt is for the amount " + *receipt.amount);
  }
  return {};
}

PayClient::PayClient(net::Client& client, const chain::AssetRegistry& assets,
                     const crypto::PrivateKey* key, SpendLedger& book, chain::EvmView* view,
                     const Clock& clock, Rng& rng, Options options)
    : client_(client),
      assets_(assets),
      key_(key),
      book_(book),
      view_(view),
      clock_(clock),
      rng_(rng),
      options_(std::move(options)) {}

// Sends and follows redirects inside the origin, as browsers do: 307 and 308 keep the method and
// the body. `wanted` is where it ended.
Task<PayClient::Answer> PayClient::Ask(Wanted& wanted, const SignedPayment* payment, Deadline by) {
  for (int hop = 0;; ++hop) {
    PTG_CO_TRY(const net::Url url, net::ParseUrl(wanted.url));
    net::RequestHead head = HeadOf(wanted, url, payment);
    std::string body = wanted.body;
    PTG_CO_TRY(
        net::Client::Whole whole,
        co_await client_.Fetch(url, std::move(head), std::move(body), options_.max_body, by));
    Answer answer;
    answer.head = std::move(whole.head);
    answer.body = std::move(whole.body);
    const auto location = answer.head.headers.Get("Location");
    if (!IsRedirect(answer.head.status) || !location || hop == kMostRedirects) co_return answer;
    auto target = SameOriginTarget(url, *location);
    if (!target) co_return answer;
    wanted.url = *std::move(target);
    const bool keeps = answer.head.status == 307 || answer.head.status == 308 ||
                       wanted.method == "GET" || wanted.method == "HEAD";
    if (!keeps) {
      wanted.method = "GET";
      wanted.body.clear();
    }
  }
}

Task<Purchase> PayClient::Buy(Wanted wanted, Deadline by) {
  PTG_CO_TRY(const net::Url url, net::ParseUrl(wanted.url));
  PTG_CO_RUN(CheckHost(options_.policy, url.host));
  for (const auto& [name, value] : wanted.headers) {
    for (const std::string_view reserved : kPaymentHeaders) {
      if (net::EqualsNoCase(name, reserved)) {
        co_return Fail(Code::kUsage, "the request carries a payment already: " + name);
      }
    }
  }
  const std::string method = wanted.method;
  const std::string asked_url = wanted.url;
  PTG_CO_TRY(Answer answer, co_await Ask(wanted, nullptr, by));

  Purchase purchase;
  purchase.status = answer.head.status;
  const auto keep = [&purchase](Answer& from) {
    for (size_t i = 0; i < from.head.headers.size(); ++i) {
      const net::Headers::Field field = from.head.headers.at(i);
      purchase.headers.emplace_back(field.name, field.value);
    }
    purchase.body = std::move(from.body);
  };
  if (answer.head.status != 402) {
    keep(answer);
    co_return purchase;
  }
  PTG_CO_TRY(const Offer offer,
             ReadOffer(answer.head.headers.Get("PAYMENT-REQUIRED"), answer.body));
  purchase.version = offer.version;
  PTG_CO_TRY(const Choice choice, Choose(offer, assets_, options_.policy));
  purchase.choice = choice;
  if (options_.dry_run || key_ == nullptr) {
    purchase.outcome = Outcome::kQuoted;
    keep(answer);
    co_return purchase;
  }
  const std::string digest = SpendLedger::DigestOf(method, asked_url, wanted.body, key_->address());
  PTG_CO_TRY(const SpendLedger::Entry entry,
             co_await FindOrSign(wanted, digest, offer, choice, purchase, by));
  purchase.payment = entry.payment;
  PTG_CO_RUN(co_await Pay(std::move(wanted), entry.payment, purchase, by));
  if (purchase.charged) {
    PTG_CO_RUN(book_.Close(entry.payment.authorization.nonce,
                           purchase.receipt ? purchase.receipt->transaction : std::string()));
  }
  co_return purchase;
}

// The payment for this request: one that was signed before and whose end nobody saw, or a new one
// that is in the book before anybody else has it.
Task<SpendLedger::Entry> PayClient::FindOrSign(const Wanted& wanted, const std::string& digest,
                                               const Offer& offer, const Choice& choice,
                                               Purchase& purchase, Deadline by) {
  if (const SpendLedger::Entry* open = book_.FindOpen(digest, clock_.Now())) {
    bool dead = false;
    if (view_ != nullptr && view_->chain() == open->payment.network) {
      const codec::Bytes32 nonce = open->payment.authorization.nonce;
      // The time first: what is unused at a later moment was unused then. Before its end that says
      // nothing, since its transaction may be on its way.
      PTG_CO_TRY(const chain::EvmBlock block, co_await view_->Block(std::nullopt, by));
      PTG_CO_TRY(const bool used,
                 co_await view_->NonceUsed(open->payment.asset, open->payment.authorization.from,
                                           nonce, by));
      dead = !used && UnixMs::FromSeconds(block.time_s) > open->payment.valid_before + kThrownOut;
      if (dead) PTG_CO_RUN(book_.Close(nonce, ""));
    }
    if (!dead) {
      purchase.sent_again = true;
      co_return *open;
    }
  }
  codec::Bytes32 nonce{};
  rng_.Fill(nonce);
  SpendLedger::Entry entry;
  entry.request = digest;
  entry.url = wanted.url;
  entry.payment = SignPayment(offer, choice, *key_, clock_.Now(), nonce);
  entry.accepted = offer.accepts[choice.index];
  entry.price = choice.price;
  PTG_CO_RUN(book_.Signed(entry));
  co_return entry;
}

// Shows the payment until somebody says what became of it. Never fails: what is not known is an
// outcome.
Task<> PayClient::Pay(Wanted wanted, const SignedPayment& payment, Purchase& purchase,
                      Deadline by) {
  for (int sent = 1;; ++sent) {
    Wanted again = wanted;
    Result<Answer> answer = co_await Ask(again, &payment, by);
    Millis pause = kPause;
    if (answer && !StillAtWork(answer->head)) {
      co_return co_await Judge(*std::move(answer), payment, purchase, by);
    }
    if (answer) {
      purchase.status = answer->head.status;
      purchase.why = SellersWords(answer->head, answer->body);
      pause = RetryAfter(answer->head.headers);
    } else {
      purchase.why = answer.error().detail();
    }
    purchase.outcome = Outcome::kUnknown;
    const bool late = by.Left(clock_) <= pause || clock_.Now() + pause >= payment.valid_before;
    if (sent >= options_.most_sends || late) co_return {};
    PTG_CO_RUN(co_await Sleep(pause));
  }
}

Task<> PayClient::Judge(Answer answer, const SignedPayment& payment, Purchase& purchase,
                        Deadline by) {
  purchase.status = answer.head.status;
  purchase.headers.clear();
  for (size_t i = 0; i < answer.head.headers.size(); ++i) {
    const net::Headers::Field field = answer.head.headers.at(i);
    purchase.headers.emplace_back(field.name, field.value);
  }
  auto receipt = ReadReceipt(answer.head.headers.Get("PAYMENT-RESPONSE"),
                             answer.head.headers.Get("X-PAYMENT-RESPONSE"));
  const std::string words = SellersWords(answer.head, answer.body);
  purchase.body = std::move(answer.body);
  const Result<> fits = !receipt   ? Fail(receipt.error())
                        : *receipt ? ReceiptFits(**receipt, payment)
                                   : Fail(Code::kSettleUnknown, "there is no receipt");
  if (receipt) purchase.receipt = *std::move(receipt);
  purchase.charged = fits.has_value();
  if (answer.head.status == 402 || answer.head.status == 412) {
    purchase.outcome = Outcome::kRefused;
    purchase.why = words;
    if (fits)
      purchase.why += " (charged already, transaction " + purchase.receipt->transaction + ')';
    co_return {};
  }
  if (!fits) {
    // An upstream that failed is not charged for; a good answer without a receipt may have been.
    purchase.outcome = Outcome::kServed;
    purchase.why = fits.error().detail();
    co_return {};
  }
  purchase.outcome = Outcome::kPaid;
  if (!options_.verify_receipt) co_return {};
  const Result<> proof = co_await Prove(payment, purchase.receipt->transaction, by);
  purchase.proven = proof.has_value();
  if (!proof) purchase.why = proof.error().detail();
  co_return {};
}

Task<> PayClient::Prove(const SignedPayment& payment, const std::string& transaction, Deadline by) {
  if (view_ == nullptr || view_->chain() != payment.network) {
    co_return Fail(Code::kUsage, "no rpc for " + payment.network.Caip2());
  }
  const auto hash = codec::FromHex0x<32>(transaction);
  if (!hash) co_return Fail(Code::kSettleTransfer, "the receipt has no transaction hash");
  while (true) {
    std::vector<crypto::Hash32> hashes{*hash};
    PTG_CO_TRY(const auto receipts, co_await view_->Receipts(std::move(hashes), by));
    if (!receipts.empty() && receipts.front()) co_return ProvesPayment(*receipts.front(), payment);
    if (by.Left(clock_) <= kPause) {
      co_return Fail(Code::kSettleTransfer, "the transaction is not on the chain");
    }
    PTG_CO_RUN(co_await Sleep(kPause));
  }
}

}  // namespace pontage::buyer
