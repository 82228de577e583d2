#include "paywall/delivery.h"

#include <algorithm>

#include "base/try.h"
#include "net/name_set.h"
#include "paywall/fields.h"
#include "paywall/tunnel.h"

namespace pontage::paywall {
namespace {

using codec::Json;

bool StartsWithNoCase(std::string_view text, std::string_view prefix) {
  return net::EqualsNoCase(text.substr(0, prefix.size()), prefix);
}

// How often a silent event stream is looked at: a client that left should not hold the upstream's
// connection for longer.
constexpr Millis kEventStep{15'000};

bool IsTimeout(const Error& error) {
  return error.code() == Code::kUpstreamTimeout || error.code() == Code::kTimeout;
}

void AddReceipt(net::ResponseHead& head, const Receipt& receipt) {
  head.headers.Set(receipt.name, receipt.value);
  KeepPrivate(head.headers);
  const std::string vary = head.headers.List("Vary");
  head.headers.Set(
      "Vary", vary + (vary.empty() ? "" : ", ") + "PAYMENT-SIGNATURE, X-PAYMENT, SIGN-IN-WITH-X");
}

}  // namespace

bool MustStream(const net::ResponseHead& head, std::optional<uint64_t> body_size, size_t hold_max) {
  if (head.status == 101) return true;
  if (body_size && *body_size > hold_max) return true;
  const auto type = head.headers.Get("Content-Type");
  return type && StartsWithNoCase(*type, "text/event-stream");
}

Task<> Hold(Answer& answer, size_t hold_max, Deadline by) {
  net::BodySource& body = answer.response->body();
  while (answer.held.size() <= hold_max) {
    PTG_CO_TRY(const std::string_view piece, co_await body.Read(by));
    if (piece.empty()) {
      answer.complete = true;
      break;
    }
    answer.held.append(piece);
  }
  co_return {};
}

std::string PrivateCacheControl(std::string_view theirs) {
  std::string out = "private";
  while (!theirs.empty()) {
    std::string_view one = theirs.substr(0, theirs.find(','));
    theirs.remove_prefix(std::min(theirs.size(), one.size() + 1));
    while (one.starts_with(' ')) one.remove_prefix(1);
    while (one.ends_with(' ')) one.remove_suffix(1);
    if (one.empty() || net::EqualsNoCase(one, "public") || net::EqualsNoCase(one, "private")) {
      continue;
    }
    // A shared cache is the one thing that must not keep a paid answer.
    if (StartsWithNoCase(one, "s-maxage")) continue;
    out.append(", ").append(one);
  }
  return out;
}

void KeepPrivate(net::Headers& headers) {
  const std::string theirs = headers.List("Cache-Control");
  // To those whom they address the others stand before Cache-Control (RFC 9213 §2.2).
  constexpr net::NameSet kOthers("Cache-Control", "Surrogate-Control", "Edge-Control",
                                 "X-Accel-Expires");
  constexpr std::string_view kOfCdns = "-Cache-Control";
  headers.RemoveIf([&](std::string_view name) {
    const bool of_cdns = name.size() > kOfCdns.size() &&
                         net::EqualsNoCase(name.substr(name.size() - kOfCdns.size()), kOfCdns);
    return of_cdns || kOthers.Has(name);
  });
  if (theirs.empty()) {
    headers.AddJudged("Cache-Control", "private");
  } else {
    headers.Add("Cache-Control", PrivateCacheControl(theirs));
  }
}

ledger::Ledger::Ending WhoBroke(const Break& broke) {
  const bool client = broke.upload_failed || broke.client_gone || broke.client_held >= kHeldBack;
  if (client) return {.outcome = ledger::Delivery::kBroken};
  return {.outcome = ledger::Delivery::kOwed, .cut = true};
}

Task<ledger::Ledger::Ending> Deliver(Reply& reply, Answer& answer,
                                     const std::optional<Receipt>& receipt, Millis idle,
                                     const Clock& clock, const Upload* upload) {
  constexpr ledger::Ledger::Ending kBroken{.outcome = ledger::Delivery::kBroken};
  net::ResponseHead head = std::move(answer.response->head());
  net::BodySource& body = answer.response->body();
  if (receipt) AddReceipt(head, *receipt);
  reply.Decorate(head, false);
  reply.set_status(head.status);
  net::ResponseWriter& out = reply.out();
  if (head.status == 101 && reply.client() != nullptr) {
    PTG_CO_TRY(const ledger::Delivery end,
               co_await Tunnel(reply, *answer.response, std::move(head), idle, clock));
    co_return ledger::Ledger::Ending{.outcome = end};
  }
  std::optional<uint64_t> size =
      answer.complete ? std::optional<uint64_t>(answer.held.size()) : body.length();
  // A HEAD answer announces what GET would have sent; of a size nobody named it says nothing.
  if (answer.complete && body.empty()) size = body.length();
  const bool events = MustStream(head, std::nullopt, 0);
  if (!co_await out.Head(std::move(head), size)) co_return kBroken;
  SteadyMs asked = clock.Coarse();
  if (!answer.held.empty() && !co_await out.Write(answer.held)) co_return kBroken;
  Millis client_held = clock.Coarse() - asked;
  while (!answer.complete) {
    // An event stream may be silent for as long as it likes; the client's going ends it.
    const Millis step = events ? kEventStep : idle;
    Result<std::string_view> piece;
    if (const std::optional<std::string_view> ready = body.Ready()) {
      piece = *ready;
    } else {
      piece = co_await body.Read(Deadline::In(clock, step));
    }
    if (!piece && events && IsTimeout(piece.error())) {
      if (out.client_gone()) co_return kBroken;
      continue;
    }
    if (!piece) {
      const Break broke{.upload_failed = upload != nullptr && upload->buyer_failed(),
                        .client_gone = out.client_gone(),
                        .client_held = client_held};
      out.Abort();
      co_return WhoBroke(broke);
    }
    if (piece->empty()) break;
    asked = clock.Coarse();
    if (!co_await out.Write(*piece)) co_return kBroken;
    client_held += clock.Coarse() - asked;
  }
  net::Headers trailers;
  if (body.trailers().size() > 0) {
    trailers = body.trailers();
    CleanAnswer(trailers);
  }
  if (!co_await out.End(trailers.size() > 0 ? &trailers : nullptr)) {
    co_return kBroken;
  }
  co_return ledger::Ledger::Ending{};
}

std::optional<ledger::Ledger::StoredAnswer> ToStored(const Answer& answer) {
  ledger::Ledger::StoredAnswer stored;
  const net::ResponseHead& head = answer.response->head();
  stored.status = head.status;
  Json fields = Json::Array();
  for (size_t i = 0; i < head.headers.size(); ++i) {
    const net::Headers::Field field = head.headers.at(i);
    // The books keep text, and field values may be any bytes.
    if (std::ranges::any_of(field.value, [](char c) { return static_cast<uint8_t>(c) > 0x7e; })) {
      return std::nullopt;
    }
    fields.Push(Json::Array({Json(field.name), Json(field.value)}));
  }
  stored.head = codec::ToString(fields);
  stored.body = answer.held;
  return stored;
}

Task<> SendStored(Reply& reply, const ledger::Ledger::StoredAnswer& stored,
                  const Receipt& receipt) {
  PTG_CO_TRY(const Json fields, codec::ParseJson(stored.head));
  net::ResponseHead head;
  head.status = stored.status;
  head.reason = ReasonPhrase(stored.status);
  for (const Json& field : *fields.AsArray()) {
    const std::vector<Json>& pair = *field.AsArray();
    head.headers.Add(*pair[0].AsString(), *pair[1].AsString());
  }
  AddReceipt(head, receipt);
  reply.Decorate(head, false);
  reply.set_status(stored.status);
  const std::optional<uint64_t> size = stored.body.size();
  PTG_CO_RUN(co_await reply.out().Head(std::move(head), size));
  if (!stored.body.empty()) PTG_CO_RUN(co_await reply.out().Write(stored.body));
  co_return co_await reply.out().End();
}

}  // namespace pontage::paywall
