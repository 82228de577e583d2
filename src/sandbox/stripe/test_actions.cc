#include "sandbox/stripe/test_actions.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "base/try.h"
#include "sandbox/stripe/checkout.h"
#include "sandbox/stripe/disputes.h"
#include "sandbox/stripe/fields.h"
#include "sandbox/stripe/ids.h"
#include "sandbox/stripe/roll.h"
#include "sandbox/stripe/subscriptions.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

constexpr int64_t kMostSeconds = int64_t{10} * 366 * 86'400;
constexpr int64_t kMostRoll = 86'400;  // as long as Stripe lets an old secret live on

using Names = std::span<const std::string_view>;

Json ClockJson(const Account& account, size_t turns) {
  return Json::Object(
      {{"now", account.Now()}, {"moved_ms", account.clock.moved().count()}, {"turns", turns}});
}

Answered<Json> Advance(Account& account, const Params& params) {
  static constexpr std::array<std::string_view, 1> kNames = {"seconds"};
  PTG_RUN(params.Only(Names(kNames)));
  PTG_TRY(const int64_t seconds, params.Int("seconds", -kMostSeconds, kMostSeconds));
  const bool begun =
      !account.store.ids(Kind::kSession).empty() || !account.store.ids(Kind::kSubscription).empty();
  if (seconds < 0 && begun) {
    return Refuse("", "The clock goes back only before the first session or subscription.",
                  "seconds");
  }
  account.clock.Move(Millis(seconds * 1'000));
  if (seconds < 0) account.rolled = account.clock.Now();
  const size_t turns = Roll(account);
  return ClockJson(account, turns);
}

// A new secret for every endpoint; the old ones sign along for so many seconds more.
Json RollSecrets(Account& account, int64_t seconds) {
  Json rolled = Json::Array();
  const UnixMs until = account.clock.Real() + Millis(seconds * 1'000);
  for (auto& [endpoint, secrets] : account.secrets) {
    for (SigningSecret& secret : secrets) {
      if (!secret.not_after) secret.not_after = until;
    }
    const std::string fresh = NewId("whsec_", 32, account.rng);
    // At most two count, as at Stripe: the last but one goes.
    if (secrets.size() > 1) secrets.erase(secrets.begin(), secrets.end() - 1);
    secrets.push_back({fresh, std::nullopt});
    rolled.Push(Json::Object({{"id", endpoint}, {"secret", fresh}}));
  }
  return rolled;
}

Answered<Json> SetFaults(Account& account, const Params& params) {
  PTG_RUN(params.Only(Faults::ParamNames()));
  PTG_TRY(const std::optional<int64_t> roll, params.MaybeInt("rotate_secret", 0, kMostRoll));
  PTG_RUN(account.faults.Set(params));
  Json answer = account.faults.ToJson();
  if (roll) answer.Set("endpoints", RollSecrets(account, *roll));
  return answer;
}

Answered<Json*> NamedBy(Account& account, const Params& params, const char* param, Kind kind) {
  PTG_TRY(const std::string id, params.Text(param));
  Json* found = account.store.Find(kind, id);
  if (found == nullptr) return NoSuch(ObjectName(kind), id, param);
  return found;
}

// The charge of a dispute, by itself, its payment intent, its invoice or its subscription.
Answered<Json*> DisputedCharge(Account& account, const Params& params) {
  if (params.Has("charge")) return NamedBy(account, params, "charge", Kind::kCharge);
  std::string intent;
  if (params.Has("payment_intent")) {
    PTG_TRY(intent, params.Text("payment_intent"));
  } else {
    std::string invoice;
    if (params.Has("invoice")) {
      PTG_TRY(invoice, params.Text("invoice"));
    } else {
      PTG_TRY(const Json* subscription,
              NamedBy(account, params, "subscription", Kind::kSubscription));
      invoice = TextOf(*subscription, "latest_invoice");
    }
    intent = account.IntentOf(invoice);
  }
  const Json* found = account.store.Find(Kind::kPaymentIntent, intent);
  Json* charge = found == nullptr
                     ? nullptr
                     : account.store.Find(Kind::kCharge, TextOf(*found, "latest_charge"));
  if (charge == nullptr) return NoSuch("charge", intent, "payment_intent");
  return charge;
}

Answered<Json> Dispute(Account& account, const Params& params) {
  static constexpr std::array<std::string_view, 7> kNames = {
      "charge", "payment_intent", "invoice", "subscription", "reason", "dispute", "close"};
  PTG_RUN(params.Only(Names(kNames)));
  PTG_TRY(const std::optional<std::string> close, params.MaybeWord("close", {"won", "lost"}));
  if (close) {
    PTG_TRY(Json * dispute, NamedBy(account, params, "dispute", Kind::kDispute));
    const std::string status = TextOf(*dispute, "status");
    if (status == "won" || status == "lost") return Refuse("", "This dispute is closed.");
    CloseDispute(account, *dispute, *close == "won");
    return *dispute;
  }
  PTG_TRY(Json * charge, DisputedCharge(account, params));
  PTG_TRY(const std::optional<std::string> reason, params.MaybeText("reason"));
  if (TextOf(*charge, "status") != "succeeded" || IsTrue(*charge, "disputed")) {
    return Refuse("", "This charge cannot be disputed.");
  }
  return OpenDispute(account, *charge, reason.value_or("fraudulent"));
}

Answered<Json> DecideDelayed(Account& account, const Params& params) {
  static constexpr std::array<std::string_view, 2> kNames = {"session", "outcome"};
  PTG_RUN(params.Only(Names(kNames)));
  PTG_TRY(Json * session, NamedBy(account, params, "session", Kind::kSession));
  PTG_TRY(const std::optional<std::string> outcome,
          params.MaybeWord("outcome", {"succeeded", "failed"}));
  if (!account.sessions[TextOf(*session, "id")].decided_at) {
    return Refuse("", "This session has no payment that is still to be decided.");
  }
  Decide(account, *session, outcome.value_or("succeeded") == "succeeded");
  return *session;
}

// Changes what the card of a subscription does from now on.
Answered<Json> SetCard(Account& account, const Params& params) {
  static constexpr std::array<std::string_view, 2> kNames = {"subscription", "card"};
  PTG_RUN(params.Only(Names(kNames)));
  PTG_TRY(const Json* subscription, NamedBy(account, params, "subscription", Kind::kSubscription));
  PTG_TRY(const std::optional<std::string> word,
          params.MaybeWord("card", {"paid", "decline", "decline_renewal", "3ds_fail", "tok_paid",
                                    "tok_decline", "tok_decline_renewal", "tok_3ds_fail"}));
  std::string_view card = word ? std::string_view(*word) : "paid";
  constexpr std::string_view kToken = "tok_";
  if (card.starts_with(kToken)) card.remove_prefix(kToken.size());
  const std::string method = TextOf(*subscription, "default_payment_method");
  if (method.empty()) return Refuse("", "This subscription has no card.");
  Card& kept = account.cards[method];
  kept = Card::kGood;
  if (card == "decline") kept = Card::kDeclined;
  if (card == "decline_renewal") kept = Card::kDeclinesRenewals;
  if (card == "3ds_fail") kept = Card::kFailsCheck;
  return *subscription;
}

Answered<Json> SetSettings(Account& account, const Params& params) {
  static constexpr std::array<std::string_view, 1> kNames = {"after_retries"};
  PTG_RUN(params.Only(Names(kNames)));
  PTG_TRY(const std::optional<std::string> after,
          params.MaybeWord("after_retries", {"cancel", "unpaid", "past_due"}));
  if (after == "cancel") account.after_retries = AfterRetries::kCancel;
  if (after == "unpaid") account.after_retries = AfterRetries::kUnpaid;
  if (after == "past_due") account.after_retries = AfterRetries::kPastDue;
  const char* const words[] = {"cancel", "unpaid", "past_due"};
  return Json::Object({{"after_retries", words[static_cast<size_t>(account.after_retries)]}});
}

Answered<Json> ChangeSubscription(Account& account, std::string_view action, const Params& params) {
  static constexpr std::array<std::string_view, 1> kNames = {"subscription"};
  PTG_RUN(params.Only(Names(kNames)));
  PTG_TRY(Json * subscription, NamedBy(account, params, "subscription", Kind::kSubscription));
  const bool paused = TextOf(*subscription, "status") == "paused";
  if (IsOver(*subscription) || (action == "resume") != paused) {
    return Refuse("", "This subscription is " + TextOf(*subscription, "status") + ".");
  }
  if (action == "pause") Pause(account, *subscription, "pause_requested");
  if (action == "resume") Resume(account, *subscription);
  if (action == "mark_unpaid") SetStatus(account, *subscription, "unpaid");
  return *subscription;
}

Answered<Json> Redeliver(Account& account, std::string_view id) {
  Event* event = account.events.Find(id);
  if (event == nullptr) return NoSuch("event", id);
  account.deliveries.Redeliver(account, *event);
  return SnapshotJson(account, *event, event->api_version);
}

Json StateJson(const Account& account) {
  Json objects = Json::Object();
  for (size_t i = 0; i < static_cast<size_t>(Kind::kCount); ++i) {
    const Kind kind = static_cast<Kind>(i);
    objects.Set(std::string(ObjectName(kind)), account.store.ids(kind).size());
  }
  return Json::Object({{"now", account.Now()},
                       {"moved_ms", account.clock.moved().count()},
                       {"objects", std::move(objects)},
                       {"events", account.events.all().size()},
                       {"deliveries_waiting", account.deliveries.size()},
                       {"deliveries_taken", account.deliveries.sent()},
                       {"deliveries_refused", account.deliveries.refused()}});
}

}  // namespace

Answered<Json> TestAction(Account& account, std::string_view method, std::string_view path,
                          const Params& params) {
  constexpr std::string_view kPrefix = "/_test/";
  const std::string_view action = path.substr(std::min(kPrefix.size(), path.size()));
  if (method == "GET" && action == "faults") return account.faults.ToJson();
  if (method == "GET" && action == "state") return StateJson(account);
  if (method == "POST") {
    if (action == "advance") return Advance(account, params);
    if (action == "faults") return SetFaults(account, params);
    if (action == "dispute") return Dispute(account, params);
    if (action == "async") return DecideDelayed(account, params);
    if (action == "card") return SetCard(account, params);
    if (action == "settings") return SetSettings(account, params);
    if (action == "pause" || action == "resume" || action == "mark_unpaid") {
      return ChangeSubscription(account, action, params);
    }
    constexpr std::string_view kEvents = "events/";
    constexpr std::string_view kAgain = "/redeliver";
    if (action.starts_with(kEvents) && action.ends_with(kAgain) &&
        action.size() > kEvents.size() + kAgain.size()) {
      return Redeliver(
          account, action.substr(kEvents.size(), action.size() - kEvents.size() - kAgain.size()));
    }
  }
  return NoSuch("test action", std::string(method) + ' ' + std::string(path), "");
}

}  // namespace pontage::sandbox::stripe
