#include "sales/billing_api.h"

#include <algorithm>
#include <array>

#include "base/fault.h"
#include "base/id.h"
#include "base/log.h"
#include "base/try.h"
#include "io/timer.h"
#include "sales/billing_pages.h"
#include "sales/checkout_request.h"
#include "sales/claim.h"
#include "sales/inbox.h"
#include "sales/mail/message.h"
#include "wire/stripe/event.h"

namespace pontage::sales {
namespace {

using codec::Json;
using codec::JsonReader;

constexpr Millis kBodyTimeout{10'000};
constexpr Millis kStripeTimeout{25'000};  // a buyer waits
constexpr Millis kStoreTimeout{5'000};
constexpr size_t kMaxId = 255;
// Somebody else's look at a purchase takes a second or so.
constexpr int kLooks = 10;
constexpr Millis kLookAgain{300};
// What was asked so short ago is not asked again.
constexpr Millis kFresh{10'000};
// Where Stripe finds fault with the price of a checkout.
constexpr std::string_view kPricePointer = "/line_items/0/price";
// The page's address stays in histories and logs.
constexpr Millis kShownFor{24 * 3'600'000LL};

bool WantsJson(const net::RequestHead& head) {
  const std::string_view accept = head.headers.Get("Accept").value_or("");
  return accept.find("application/json") != accept.npos && accept.find("text/html") == accept.npos;
}

// "cs_test_a1…": nothing else goes into a path of Stripe's.
bool IsSessionId(std::string_view text) {
  return text.starts_with("cs_") && text.size() <= kMaxId && std::ranges::all_of(text, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '_';
         });
}

// The field of a request that an error is about.
Error At(const Error& error, std::string_view pointer) {
  return Error(error.code(), error.detail()).At(std::string(pointer)).Want(error.expected());
}

Answer Url(const Fields& fields, const std::string& url) {
  if (fields.form()) return SeeOther(url);
  return JsonAnswer(Json::Object({{"url", url}}));
}

// Whether the page of its purchase shows it. Whoever has one reissued has lost the one before, and
// who found that may have found the page, too. Where no mails are sent the page is all that a buyer
// has.
bool IsShown(const license::License& license, const Shop& shop, UnixMs now) {
  const bool fresh = shop.seller.from.empty() || now < license.issued + kShownFor;
  return license.generation == 1 && fresh;
}

// Of a purchase's licenses one that opens something, if there is one.
const license::License& TheOneThatOpens(const std::vector<license::License>& licenses) {
  const auto at = std::ranges::find_if(licenses, license::Opens, &license::License::status);
  return at == licenses.end() ? licenses.front() : *at;
}

// What a license was bought by: its subscription, or the session of what was bought once.
std::string PurchaseOf(const license::License& license) {
  constexpr std::string_view kSession = "session:";
  if (license.origin.starts_with(kSession)) return license.origin.substr(kSession.size());
  return license.subscription;
}

Result<Fields> FieldsOf(const net::RequestHead& head, std::string_view body) {
  return Fields::Read(head.headers.Get("Content-Type").value_or("application/json"), body);
}

}  // namespace

BillingApi::BillingApi(Parts parts)
    : parts_(std::move(parts)),
      buyers_(parts_.stripe, parts_.database, parts_.clock),
      prices_(parts_.stripe, parts_.clock),
      portal_(parts_.stripe, parts_.shop, parts_.clock, parts_.rng),
      events_(parts_.metrics.CounterOf("pontage_stripe_events_total",
                                       "Events of Stripe that were written down.")),
      refused_(parts_.metrics.CounterOf("pontage_stripe_events_refused_total",
                                        "Deliveries that were not Stripe's, or no events.")) {}

std::span<const BillingApi::Route> BillingApi::Routes() {
  static constexpr std::array<Route, 8> kRoutes = {{
      {"/billing", "GET", &BillingApi::PriceList, 0},
      {"/billing/checkout", "POST", &BillingApi::Checkout, Fields::kMaxBody},
      {"/billing/success", "GET", &BillingApi::Success, 0},
      {"/billing/claim", "GET", &BillingApi::ClaimButton, 0},
      {"/billing/claim", "POST", &BillingApi::Claim, Fields::kMaxBody},
      {"/billing/portal", "POST", &BillingApi::Portal, Fields::kMaxBody},
      {"/billing/resend", "POST", &BillingApi::Resend, Fields::kMaxBody},
      {"/webhooks/stripe", "POST", &BillingApi::Webhook, kMaxEvent},
  }};
  return kRoutes;
}

bool BillingApi::Serves(std::string_view target) const {
  return std::ranges::find(Routes(), PathOf(target), &Route::path) != Routes().end();
}

Task<> BillingApi::Handle(net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out) {
  const std::string_view method = head.method == "HEAD" ? "GET" : std::string_view(head.method);
  const std::string_view path = PathOf(head.target);
  auto route = std::ranges::find_if(
      Routes(), [&](const Route& one) { return one.path == path && one.method == method; });
  const bool takes = route != Routes().end();
  if (!takes) route = std::ranges::find(Routes(), path, &Route::path);
  Answer answer;
  if (route == Routes().end()) {
    answer = ProblemAnswer(Error(Code::kNotFound, "there is nothing at this path"));
  } else if (!takes) {
    answer =
        ProblemAnswer(Error(Code::kMethodNotAllowed, "this path does not take " + head.method));
    std::string allow;
    for (const Route& one : Routes()) {
      if (one.path != path) continue;
      allow += (allow.empty() ? "" : ", ") + std::string(one.method);
    }
    answer.headers.emplace_back("Allow", std::move(allow));
  } else if (body.length().value_or(0) > route->max_body) {
    answer = ProblemAnswer(Error(Code::kBodyTooLarge, "the body is too long"));
  } else {
    const Deadline by = Deadline::In(parts_.clock, kBodyTimeout);
    const Result<std::string> bytes = co_await net::ReadAll(body, route->max_body, by);
    if (!bytes && bytes.error().code() == Code::kConnection) co_return Fail(bytes.error());
    if (bytes) {
      const Decide decide = route->decide;
      Result<Answer> decided = co_await (this->*decide)(head, *bytes);
      answer = decided ? *std::move(decided) : ProblemAnswer(decided.error());
    } else {
      answer = ProblemAnswer(bytes.error());
    }
  }
  co_return co_await SendAnswer(out, std::move(answer), parts_.clock, parts_.rng);
}

Task<Answer> BillingApi::PriceList(const net::RequestHead& head, std::string_view) {
  if (WantsJson(head)) co_return JsonAnswer(PriceListJson(parts_.shop));
  co_return PageAnswer(PriceListPage(parts_.shop));
}

Task<int64_t> BillingApi::TrialDays(const SoldPlan& plan, std::string customer, std::string email,
                                    Deadline by) {
  if (plan.interval.empty() || plan.trial_days == 0) co_return 0;
  const auto had = [name = plan.name, customer, email](db::Tx& tx) {
    return license::EverHad(tx, name, customer, email, "");
  };
  PTG_CO_TRY(const bool again, co_await parts_.database.Read(had, by));
  co_return again ? 0 : plan.trial_days;
}

Task<std::string> BillingApi::OpenCheckout(const SoldPlan& plan, std::string email, Deadline by) {
  CheckoutRequest request;
  request.subscription = !plan.interval.empty();
  request.plan = plan.name;
  request.automatic_tax = parts_.shop.automatic_tax;
  request.success_url = SuccessUrl(parts_.shop.public_url);
  request.cancel_url = parts_.shop.public_url + "/billing";
  if (!email.empty()) {
    PTG_CO_TRY(request.customer, co_await buyers_.CustomerOf(email, by));
  }
  // Who names no address is not known before he pays; that he had one is told of then.
  std::string customer = request.customer.str();
  PTG_CO_TRY(request.trial_days,
             co_await TrialDays(plan, std::move(customer), std::move(email), by));
  for (bool again = false;; again = true) {
    PTG_CO_TRY(request.price, co_await prices_.Of(plan, by));
    request.tenant = TenantId(NewIdText("buy", parts_.clock, parts_.rng));
    const std::string key = "cs:" + request.tenant.str();
    stripe::Form form = CheckoutForm(request);
    const Result<stripe::CheckoutSession> session =
        co_await parts_.stripe.CreateCheckout(std::move(form), key, by);
    if (session) co_return session->url;
    if (!session.error().pointer().starts_with(kPricePointer)) co_return Fail(session.error());
    // One that was archived since it was found.
    if (prices_.Forget(plan) && !again) continue;
    co_return Fail(Error(Code::kConflict, "the price of the plan " + plan.name +
                                              " cannot be sold: " + session.error().detail())
                       .At("/plan")
                       .Want("an active price at Stripe; `pontage stripe setup` makes one"));
  }
}

Task<Answer> BillingApi::Checkout(const net::RequestHead& head, std::string_view body) {
  PTG_CO_TRY(const Fields fields, FieldsOf(head, body));
  const SoldPlan* plan = parts_.shop.Find(fields.Get("plan"));
  if (plan == nullptr) {
    std::string names;
    for (const auto& [name, one] : parts_.shop.plans) names += (names.empty() ? "" : ", ") + name;
    co_return Fail(
        Error(Code::kBadRequest, "there is no such plan").At("/plan").Want("one of: " + names));
  }
  const std::string email = license::NormalEmail(fields.Get("email"));
  if (!email.empty()) {
    const Result<> good = mail::CheckMailbox(email);
    if (!good) co_return Fail(At(good.error(), "/email"));
  }
  const Deadline by = Deadline::In(parts_.clock, kStripeTimeout);
  PTG_CO_TRY(const std::string url, co_await OpenCheckout(*plan, email, by));
  co_return Url(fields, url);
}

Task<std::string> BillingApi::PurchaseOfSession(const std::string& session, Deadline by) {
  const std::optional<std::string> said = sessions_.Find(session, parts_.clock.Steady());
  if (said && said->empty()) {
    co_return Fail(Code::kNotFound, "Stripe knows no such checkout session");
  }
  if (said) co_return *said;
  const Result<std::string> purchase = co_await parts_.worker.PurchaseOf(session, by);
  const bool unknown = !purchase && purchase.error().code() == Code::kNotFound;
  if (unknown || (purchase && !purchase->empty())) {
    sessions_.Note(session, purchase.value_or(""), parts_.clock.Steady());
  }
  co_return purchase;
}

Task<Fulfilled> BillingApi::Look(const std::string& session, Deadline by) {
  PTG_CO_TRY(const std::string purchase, co_await PurchaseOfSession(session, by));
  if (purchase.empty()) co_return Fulfilled{};
  for (int i = 0;; ++i) {
    const auto find = [purchase, since = parts_.clock.Now() - kFresh](db::Tx& tx) {
      return FindFulfilled(tx, purchase, since);
    };
    PTG_CO_TRY(Fulfilled known, co_await parts_.database.Read(find, by));
    if (!known.licenses.empty()) co_return known;
    Result<Fulfilled> done = co_await parts_.worker.LookAt(purchase, std::nullopt, by);
    // The event came at the same time, and is being dealt with.
    const bool busy = !done && done.error().code() == Code::kConflict;
    if (!busy || i == kLooks) co_return done;
    PTG_CO_RUN(co_await Sleep(kLookAgain));
  }
}

Task<Bought> BillingApi::LookAtSession(const std::string& session) {
  if (!IsSessionId(session)) {
    co_return Fail(Error(Code::kBadRequest, "this is no checkout session")
                       .At("/session_id")
                       .Want("what Stripe put into the address, \"cs_…\""));
  }
  const Deadline by = Deadline::In(parts_.clock, kStripeTimeout);
  const Result<Fulfilled> done = co_await Look(session, by);
  if (!done && done.error().code() == Code::kNotFound) {
    co_return Fail(At(done.error(), "/session_id"));
  }
  Bought bought;
  if (done && !done->licenses.empty()) {
    const license::License& license = TheOneThatOpens(done->licenses);
    const bool shown = IsShown(license, parts_.shop, parts_.clock.Now());
    bought = {.ready = true,
              .license = shown ? parts_.fulfilment.TextOf(license) : "",
              .license_id = license.id,
              .plan = license.plan,
              .status = license.status,
              .expires_at = license.expires,
              .invoice_url = done->invoice_url,
              .invoice_pdf = done->invoice_pdf,
              .resend_url = shown ? "" : parts_.shop.public_url + "/billing/resend"};
  } else if (!done) {
    Log(LogLevel::kInfo, "sales.success_early", {{"detail", done.error().detail()}});
  }
  co_return bought;
}

Task<Answer> BillingApi::Success(const net::RequestHead& head, std::string_view) {
  PTG_CO_TRY(const Fields query, Fields::OfQuery(head.target));
  const std::string session(query.Get("session_id"));
  PTG_CO_TRY(Bought bought, co_await LookAtSession(session));
  if (bought.ready && bought.resend_url.empty() && parts_.shop.claim_links) {
    bought.claim_url = parts_.shop.public_url + "/billing/claim?session_id=" + session;
  }
  if (WantsJson(head)) co_return JsonAnswer(SuccessJson(bought));
  if (!bought.ready) co_return PageAnswer(PendingPage(session, query.Get("look")));
  co_return PageAnswer(SuccessPage(parts_.shop, bought));
}

Task<Answer> BillingApi::ClaimButton(const net::RequestHead& head, std::string_view) {
  PTG_CO_TRY(const Fields query, Fields::OfQuery(head.target));
  const std::string_view name = query.Get("token").empty() ? "session_id" : "token";
  if (query.Get(name).empty()) {
    co_return Fail(Error(Code::kBadRequest, "the link is not whole")
                       .At("/token")
                       .Want("the address from the mail, up to its last letter"));
  }
  co_return PageAnswer(ClaimPage(name, query.Get(name)));
}

Task<Bought> BillingApi::Show(const std::string& license, Deadline by) {
  const auto read = [this, license](db::Tx& tx) -> Result<Bought> {
    PTG_TRY(const std::optional<license::License> found, license::FindLicense(tx, license));
    if (!found) return Fail(Code::kNotFound, "there is no such license any more");
    PTG_TRY(const std::optional<Purchase> purchase, FindPurchase(tx, PurchaseOf(*found)));
    Bought bought;
    bought.ready = true;
    bought.license = parts_.fulfilment.TextOf(*found);
    bought.license_id = found->id;
    bought.plan = found->plan;
    bought.status = found->status;
    bought.expires_at = found->expires;
    if (purchase) bought.invoice_url = purchase->invoice_url;
    if (purchase) bought.invoice_pdf = purchase->invoice_pdf;
    return bought;
  };
  co_return co_await parts_.database.Read(read, by);
}

Task<Answer> BillingApi::Claim(const net::RequestHead& head, std::string_view body) {
  PTG_CO_TRY(const Fields fields, FieldsOf(head, body));
  const std::string token(fields.Get("token"));
  const std::string session(fields.Get("session_id"));
  Bought bought;
  if (token.empty()) {
    PTG_CO_TRY(bought, co_await LookAtSession(session));
    if (!bought.ready) co_return Fail(Code::kConflict, "the license is still on its way");
    if (!bought.resend_url.empty()) co_return Fail(At(ClaimGone(), "/session_id"));
  }
  const UnixMs now = parts_.clock.Now();
  const Deadline by = Deadline::In(parts_.clock, kStoreTimeout);
  // Taken first: who opens a link twice at once sees the license once.
  const std::string bought_id = bought.license_id;
  const auto take = [token, session, bought_id, now](db::Tx& tx) -> Result<std::string> {
    if (!token.empty()) return TakeClaim(tx, token, now);
    PTG_RUN(TakeClaimOfSession(tx, session, bought_id, now));
    return bought_id;
  };
  const Result<std::string> taken = co_await parts_.database.Write(take, by);
  if (!taken && taken.error().code() == Code::kNotFound) {
    co_return Fail(At(taken.error(), token.empty() ? "/session_id" : "/token"));
  }
  if (!taken) co_return Fail(taken.error());
  if (!token.empty()) {
    PTG_CO_TRY(bought, co_await Show(*taken, by));
  }
  if (!fields.form()) co_return JsonAnswer(SuccessJson(bought));
  co_return PageAnswer(SuccessPage(parts_.shop, bought));
}

Task<std::string> BillingApi::OpenPortal(std::string license, Deadline by) {
  if (!parts_.verifier) co_return Fail(Code::kConfig, "licenses cannot be checked here");
  PTG_CO_TRY(const license::Verified verified, parts_.verifier->Read(license, parts_.clock.Now()));
  // As the books have it: the customer of a token cannot change, but may have been erased.
  const std::string id = verified.claims.id;
  const auto find = [id](db::Tx& tx) { return license::FindLicense(tx, id); };
  PTG_CO_TRY(const std::optional<license::License> found, co_await parts_.database.Read(find, by));
  if (!found || !found->customer.starts_with("cus_")) {
    co_return Fail(Error(Code::kLicenseInvalid, "this license was not bought by card"));
  }
  // One that ran out, or that a payment revoked, leads to the invoices all the same.
  if (found->revoked_by == "operator") co_return Fail(Code::kLicenseRevoked, "it was revoked");
  if (license::IsReplaced(*found, verified.claims.generation, parts_.clock.Now())) {
    co_return Fail(Error(Code::kLicenseRevoked, "the license was replaced by a newer one")
                       .Want("the newer one, which /billing/resend sends"));
  }
  const stripe::CustomerId customer(found->customer);
  co_return co_await portal_.Open(customer, by);
}

Task<Answer> BillingApi::Portal(const net::RequestHead& head, std::string_view body) {
  PTG_CO_TRY(const Fields fields, FieldsOf(head, body));
  std::string license(fields.Get("license"));
  if (license.empty()) {
    co_return Fail(Error(Code::kLicenseInvalid, "the license is missing")
                       .At("/license")
                       .Want("the license as it was issued, in one piece"));
  }
  const Deadline by = Deadline::In(parts_.clock, kStripeTimeout);
  const Result<std::string> url = co_await OpenPortal(std::move(license), by);
  if (!url) {
    const Code code = url.error().code();
    const bool theirs = code == Code::kLicenseInvalid || code == Code::kLicenseRevoked;
    co_return Fail(theirs ? At(url.error(), "/license") : url.error());
  }
  co_return Url(fields, *url);
}

// The licenses of an address, once more to that address; at most once an hour each.
Task<> BillingApi::Remind(std::string email, Deadline by) {
  const UnixMs now = parts_.clock.Now();
  const auto write = [this, email, now](db::Tx& tx) -> Result<> {
    PTG_TRY(const std::vector<license::License> all,
            license::ListLicenses(tx, {.email = email, .limit = 20}));
    // A text that replaced the one of a mail before is another matter than that mail.
    const std::string hour = "resend:" + now.Rfc3339().substr(0, 13) + ":";
    for (const license::License& one : all) {
      if (!license::Opens(license::StatusAt(one, now))) continue;
      PTG_TRY(const std::optional<Purchase> bought, FindPurchase(tx, PurchaseOf(one)));
      PTG_RUN(parts_.fulfilment.EnqueueLicense(tx, one, bought ? bought->invoice_url : "",
                                               bought ? bought->invoice_pdf : "",
                                               hour + std::to_string(one.generation)));
    }
    return {};
  };
  co_return co_await parts_.database.Write(write, by);
}

Task<Answer> BillingApi::Resend(const net::RequestHead& head, std::string_view body) {
  // The same words for everybody: who has bought is nobody's business.
  const Json said = Json::Object(
      {{"detail", "If there are licenses for this address, they are on their way to it."}});
  const Result<Fields> fields = FieldsOf(head, body);
  const std::string email = fields ? license::NormalEmail(fields->Get("email")) : "";
  if (mail::CheckMailbox(email)) {
    const Deadline by = Deadline::In(parts_.clock, kStoreTimeout);
    const Result<> done = co_await Remind(email, by);
    if (!done) Log(LogLevel::kWarn, "sales.resend_failed", {{"detail", done.error().detail()}});
  }
  co_return JsonAnswer(said);
}

Task<Answer> BillingApi::Webhook(const net::RequestHead& head, std::string_view body) {
  const std::string_view header = head.headers.Get("Stripe-Signature").value_or("");
  const UnixMs now = parts_.clock.Now();
  const auto fault = stripe::FindSignatureFault(header, body, parts_.secrets, now);
  if (fault || head.headers.Count("Stripe-Signature") > 1) {
    refused_.Add();
    Log(LogLevel::kWarn, "sales.webhook_refused",
        {{"detail", fault ? stripe::ToText(*fault) : "two signatures"}});
    co_return Fail(Error(Code::kBadRequest, "this is not signed by Stripe")
                       .At("/Stripe-Signature")
                       .Want("a signature of this body with the endpoint's secret"));
  }
  codec::JsonLimits limits;
  limits.max_bytes = kMaxEvent;
  limits.max_depth = 64;
  Result<Json> json = codec::ParseJson(body, limits);
  if (!json) {
    refused_.Add();
    co_return Fail(json.error());
  }
  PTG_CO_TRY(const JsonReader reader, JsonReader::Of(*json));
  const Result<stripe::Event> event = stripe::ReadEvent(reader);
  if (!event) {
    refused_.Add();
    co_return Fail(event.error());
  }
  const std::string payload(body);
  const auto store = [&event, &payload, now](db::Tx& tx) {
    return StoreEvent(tx, *event, payload, "webhook", now);
  };
  PTG_KILL_POINT("event_unstored");
  const Deadline by = Deadline::In(parts_.clock, kStoreTimeout);
  PTG_CO_TRY(const bool fresh, co_await parts_.database.Write(store, by));
  PTG_KILL_POINT("event_stored");
  if (fresh) {
    events_.Add();
    // Read all the same; but what later versions move is not noticed.
    if (!event->thin && event->api_version != kStripeVersion) {
      Log(LogLevel::kWarn, "sales.event_version",
          {{"stripe_event", event->id.str()},
           {"version", event->api_version},
           {"wanted", kStripeVersion}});
    }
  }
  co_return JsonAnswer(Json::Object({{"received", true}}));
}

}  // namespace pontage::sales
