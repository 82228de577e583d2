#include "console/pages.h"

#include <cstdlib>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "console/operator_pages.h"
#include "testing/expect.h"

namespace pontage::console {
namespace {

using pontage::testing::FailsWith;
using ::testing::HasSubstr;
using ::testing::Not;

const UnixMs kNow = UnixMs::FromSeconds(1'795'361'165);  // 2026-11-22T15:26:05Z
constexpr size_t kMostBytes = 50 << 10;
constexpr Millis kDay{86'400'000};

Viewer Who(std::initializer_list<Scope> scopes) {
  Viewer viewer{.name = "operator",
                .scopes = {},
                .csrf = std::string(64, 'c'),
                .now = kNow,
                .idempotency_key = "page." + std::string(32, 'a')};
  for (const Scope scope : scopes) viewer.scopes.Add(scope);
  return viewer;
}
Viewer Owner() { return Who({Scope::kOwner}); }

license::InvoiceRow Invoice(std::string_view status, int64_t due, int64_t paid) {
  return {.id = "in_1",
          .purchase = "sub_1",
          .customer = "cus_ann",
          .email = "ann@example.com",
          .number = "PTG-0001",
          .status = std::string(status),
          .currency = "usd",
          .due = due,
          .paid = paid,
          .url = "https://invoice.stripe.com/i/1",
          .created = kNow - Millis(180'000)};
}
license::License License() {
  license::License license;
  license.id = "lic_0198aa";
  license.origin = "sub:sub_1:si_1";
  license.customer = "cus_ann";
  license.email = "ann@example.com";
  license.plan = "pro";
  license.subscription = "sub_1";
  license.paid_through = kNow + 30 * kDay;
  license.expires = kNow + 33 * kDay;
  license.issued = license.created = license.updated = kNow - Millis(170'000);
  return license;
}
license::PurchaseRow Subscription(std::string_view status = "active") {
  return {.id = "sub_1",
          .customer = "cus_ann",
          .email = "ann@example.com",
          .status = std::string(status),
          .plan = "pro",
          .paid_through = kNow + 30 * kDay,
          .period_end = kNow + 30 * kDay,
          .cancel_at = UnixMs(),
          .invoice_url = "",
          .alarm = "",
          .fetched = kNow - Millis(120'000),
          .created = kNow - Millis(180'000)};
}
CustomerWhole Ann() {
  CustomerWhole ann;
  ann.id = "cus_ann";
  ann.email = "ann@example.com";
  ann.purchases = {Subscription()};
  ann.licenses = {License()};
  ann.invoices = {Invoice("paid", 2900, 2900)};
  return ann;
}
LicenseWhole AnnsLicense() {
  LicenseWhole whole;
  whole.license = License();
  whole.purchase = Subscription();
  return whole;
}

TEST(CustomerPageTest, FirstOfAllWhetherTheLastPaymentWentThrough) {
  const auto first = [](const CustomerWhole& customer) {
    const std::string page = CustomerPage(Owner(), customer);
    const size_t from = page.find("</h1>");
    return page.substr(from, page.find("</div>", from) - from);
  };
  CustomerWhole ann = Ann();
  EXPECT_THAT(first(ann), HasSubstr("<div class=\"say ok\"><b>✓ Paid $29.00</b>"));
  EXPECT_THAT(first(ann), HasSubstr("3 min ago"));
  ann.invoices = {Invoice("open", 2900, 0)};
  EXPECT_THAT(first(ann), HasSubstr("<div class=\"say wait\"><b>… Not paid yet: $29.00</b>"));
  ann.purchases = {Subscription("past_due")};
  EXPECT_THAT(first(ann), HasSubstr("<div class=\"say bad\"><b>✗ Failed: $29.00</b>"));
  ann.invoices = {Invoice("paid", 0, 0)};
  EXPECT_THAT(first(ann), HasSubstr("Nothing to pay yet"));
  ann.invoices = {Invoice("void", 2900, 0)};
  EXPECT_THAT(first(ann), HasSubstr("Payment void"));
  ann.invoices.clear();
  EXPECT_THAT(first(ann), HasSubstr("No payment by card"));
  // What went back stands beside it, but not what was bought another time.
  ann.invoices = {Invoice("paid", 2900, 2900)};
  license::Refund refund;
  refund.purchase = "sub_1";
  refund.amount = 500;
  refund.currency = "usd";
  refund.state = "pending";
  refund.updated = kNow;
  ann.refunds = {refund};
  EXPECT_THAT(first(ann), HasSubstr("Refund of $5.00 pending, just now"));
  ann.refunds.front().purchase = "sub_2";
  EXPECT_THAT(first(ann), Not(HasSubstr("Refund")));
}

TEST(LicensePageTest, SaysWhatItCalled) {
  LicenseWhole whole = AnnsLicense();
  whole.usage.today = 12;
  whole.usage.month = 340;
  whole.license.limits.monthly = 0;
  EXPECT_THAT(LicensePage(Owner(), whole, std::nullopt), HasSubstr("12 today, 340 this month<"));
  whole.license.limits.monthly = 1'000;
  EXPECT_THAT(LicensePage(Owner(), whole, std::nullopt),
              HasSubstr("12 today, 340 this month of 1000<"));
}

TEST(LicensePageTest, AKeyHasTheButtonsOfItsScopes) {
  const LicenseWhole whole = AnnsLicense();
  const std::optional<license::InvoiceRow> last = Invoice("paid", 2900, 2900);
  const auto buttons = [&](const Viewer& viewer) {
    const std::string page = LicensePage(viewer, whole, last);
    std::string found;
    for (const char* const verb : {"extend", "reissue", "refund", "revoke"}) {
      if (page.find("/admin/licenses/lic_0198aa/" + std::string(verb)) != page.npos) {
        found += std::string(found.empty() ? "" : " ") + verb;
      }
    }
    return found;
  };
  EXPECT_EQ(buttons(Who({Scope::kRead})), "");
  EXPECT_EQ(buttons(Who({Scope::kSupport})), "extend reissue");
  EXPECT_EQ(buttons(Who({Scope::kRefund})), "refund");
  EXPECT_EQ(buttons(Owner()), "extend reissue refund revoke");
}

TEST(LicensePageTest, ARevokedOneHasNothingLeftToDoButMoney) {
  LicenseWhole whole = AnnsLicense();
  whole.status = license::Status::kRevoked;
  const std::string page = LicensePage(Owner(), whole, Invoice("paid", 2900, 2900));
  EXPECT_THAT(page, Not(HasSubstr("/revoke\"")));
  EXPECT_THAT(page, Not(HasSubstr("/extend\"")));
  EXPECT_THAT(page, HasSubstr("/refund\""));
  // And what was never paid cannot go back.
  EXPECT_THAT(LicensePage(Owner(), whole, std::nullopt), Not(HasSubstr("/refund\"")));
}

TEST(PagesTest, EveryFormHasItsTokenAndAKeyOfItsOwn) {
  const std::string page = LicensePage(Owner(), AnnsLicense(), Invoice("paid", 2900, 2900));
  size_t forms = 0;
  std::set<std::string> keys;
  for (size_t at = page.find("<form method=\"post\""); at != page.npos;
       at = page.find("<form method=\"post\"", at + 1)) {
    ++forms;
    const std::string form = page.substr(at, page.find("</form>", at) - at);
    EXPECT_THAT(form, HasSubstr("name=\"csrf\" value=\"cccc"));
    const size_t key = form.find("name=\"key\" value=\"");
    if (key != form.npos) keys.insert(form.substr(key, form.find('>', key) - key));
  }
  EXPECT_EQ(forms, 5u);  // four verbs and the logout
  EXPECT_EQ(keys.size(), 4u);
}

// Whatever somebody calls himself, on every page, at any length.
constexpr std::string_view kHostile = "\"><script>alert(1)</script><img src=x onerror='alert(2)'>&";

std::vector<std::string> HostilePages(size_t length) {
  constexpr size_t rows = kPageRows;
  std::string bad;
  while (bad.size() < length) bad += kHostile;
  // Ids are ours or Stripe's and no longer than this; they stand in links whole.
  const std::string id = bad.substr(0, 64);
  const Viewer viewer = Owner();
  CustomerWhole customer{
      .id = id, .email = bad, .purchases = {}, .licenses = {}, .invoices = {}, .refunds = {}};
  LicenseWhole whole;
  Page<license::Customer> customers;
  Page<PaymentRow> payments;
  Page<license::EventRow> events;
  Page<license::MailRow> mails;
  Page<ledger::Command> commands;
  Page<ledger::AuditRow> audit;
  ChainPayment chain;
  for (size_t i = 0; i < rows; ++i) {
    license::License license = License();
    license.id = license.customer = id;
    license.email = license.plan = license.reason = bad;
    license.origin = license.tier = license.revoked_by = bad;
    customer.licenses.push_back(license);
    whole.license = license;
    license::PurchaseRow purchase = Subscription();
    purchase.id = purchase.customer = id;
    purchase.email = purchase.status = purchase.plan = bad;
    purchase.alarm = purchase.invoice_url = bad;
    customer.purchases.push_back(purchase);
    whole.purchase = purchase;
    license::InvoiceRow invoice = Invoice(bad, 1, 1);
    invoice.id = id;
    invoice.number = invoice.currency = bad;
    invoice.url = "javascript:" + bad;
    customer.invoices.push_back(invoice);
    license::Refund refund{.id = id, .command = id, .license = id, .purchase = invoice.purchase};
    refund.reason = refund.actor = refund.currency = refund.state = bad;
    refund.amount = 1;
    customer.refunds.push_back(refund);
    whole.refunds.push_back(refund);
    customers.rows.push_back({.id = id,
                              .email = bad,
                              .plan = bad,
                              .status = license.status,
                              .expires = kNow,
                              .licenses = 2,
                              .since = kNow,
                              .license = id});
    payments.rows.push_back({.rail = bad,
                             .id = id,
                             .at = kNow,
                             .state = bad,
                             .payer = id,
                             .email = bad,
                             .amount = bad,
                             .what = bad,
                             .delivery = bad,
                             .network = bad,
                             .reference = bad,
                             .url = bad});
    events.rows.push_back({.id = id,
                           .type = bad,
                           .object_kind = bad,
                           .object_id = bad,
                           .api_version = bad,
                           .source = bad,
                           .state = bad,
                           .attempts = 3,
                           .next = kNow,
                           .last_error = bad,
                           .created = kNow,
                           .received = kNow,
                           .done = kNow});
    mails.rows.push_back({.id = id,
                          .kind = bad,
                          .license = id,
                          .recipient = bad,
                          .state = i % 2 == 0 ? "dead" : bad,
                          .attempts = 3,
                          .next = kNow,
                          .provider = bad,
                          .last_error = bad,
                          .created = kNow,
                          .updated = kNow,
                          .suppressed = bad});
    ledger::Command command;
    command.id = id;
    command.verb = command.subject = command.actor = bad;
    command.state = ledger::CommandState::kFailed;
    command.outcome = command.last_error = bad;
    commands.rows.push_back(command);
    audit.rows.push_back({.seq = 1,
                          .at = kNow,
                          .entry = {.actor = bad,
                                    .verb = bad,
                                    .subject = bad,
                                    .before = bad,
                                    .after = bad,
                                    .reason = bad,
                                    .request_id = bad},
                          .prev_hash = "",
                          .hash = ""});
    chain.history.push_back({.at = kNow, .what = bad, .detail = bad});
  }
  whole.mails = mails.rows;
  whole.commands = commands.rows;
  whole.audit = audit.rows;
  customers.next = payments.next = events.next = mails.next = commands.next = audit.next =
      bad.substr(0, 200);
  audit.rows.resize(std::min(rows, kAuditRows));
  chain.row.method = chain.row.resource = chain.row.route = chain.row.payer = id;
  chain.row.network = chain.row.transaction = chain.row.failure = chain.row.pay_to = bad;
  const codec::Json one = codec::Json::Object({{"class", bad},
                                               {"loop", bad},
                                               {"plan", bad},
                                               {"ours", bad},
                                               {"stripe", bad},
                                               {"what", bad},
                                               {"detail", bad},
                                               {"fault", bad},
                                               {"last_at", bad},
                                               {"ended_at", bad}});
  const codec::Json list = codec::Json::Array(std::vector<codec::Json>(rows, one));
  const codec::Json json = codec::Json::Object(
      {{"drift", 3}, {bad, bad}, {"recent", list}, {"prices", list}, {"loops", list}});
  const std::string query = bad.substr(0, 200);
  return {LoginPage(bad, bad),
          FaultPage(viewer, Error(Code::kConflict, bad).At(bad).Want(bad), bad),
          HomePage(viewer, {}, {payments.rows.begin(), payments.rows.begin() + kFewRows}),
          CustomersPage(viewer, query, customers),
          CustomerPage(viewer, customer),
          LicensePage(viewer, whole, customer.invoices.front()),
          IssuePage(viewer, {query, query}),
          PaymentsPage(viewer, {.rail = query, .state = query, .customer = query}, payments),
          ChainPaymentPage(viewer, chain),
          EventsPage(viewer, {.state = query, .type = query, .object = query}, events),
          EventPage(viewer, {.row = events.rows.front(), .payload = json}),
          OutboxPage(viewer, {.state = query, .license = query}, mails),
          CommandsPage(viewer, {.subject = query, .state = query}, commands),
          CommandPage(viewer, commands.rows.front(), json),
          DriftPage(viewer, DriftReport{.at = kNow, .report = json}),
          AuditPage(viewer, query, audit, {})};
}

TEST(PagesTest, HostileNamesNeverBecomeMarkup) {
  size_t number = 0;
  for (const std::string& page : HostilePages(100)) {
    SCOPED_TRACE(++number);
    EXPECT_EQ(page.find("<script"), page.npos);
    EXPECT_EQ(page.find("<img"), page.npos);
    EXPECT_EQ(page.find("href=\"javascript"), page.npos);
    // Whatever stands between "<" and ">" is ours: no attribute was opened or closed by a text.
    for (size_t at = page.find('<'); at != page.npos; at = page.find('<', at + 1)) {
      const std::string tag = page.substr(at, page.find('>', at) - at);
      EXPECT_EQ(tag.find("onerror='"), tag.npos) << tag;
      EXPECT_EQ(std::ranges::count(tag, '"') % 2, 0) << tag;
    }
  }
}

// The longest that the lists let through, all of it hostile: every '<' takes four bytes.
TEST(PagesTest, EveryPageStaysBelowFiftyKibibytes) {
  size_t number = 0;
  for (const std::string& page : HostilePages(70'000)) {
    SCOPED_TRACE(++number);
    EXPECT_LT(page.size(), kMostBytes) << page.substr(page.find("<h1>"), 60);
  }
}

TEST(DriftPageTest, WhetherTheBooksAgree) {
  const auto said = [](codec::Json report) {
    const std::string page =
        DriftPage(Owner(), DriftReport{.at = kNow, .report = std::move(report)});
    const size_t from = page.find("<b>", page.find("</h1>"));
    return page.substr(from + 3, page.find("</b>", from) - from - 3);
  };
  const codec::Json none = codec::Json::Array();
  const codec::Json price = codec::Json::Array({codec::Json::Object({{"plan", "pro"}})});
  EXPECT_EQ(said(codec::Json::Object({{"drift", 0}, {"healed", 0}, {"prices", none}})),
            "✓ They agree");
  EXPECT_EQ(said(codec::Json::Object({{"drift", 2}, {"healed", 2}, {"prices", none}})),
            "✓ 2 differed and were mended");
  EXPECT_EQ(said(codec::Json::Object({{"drift", 2}, {"healed", 1}, {"prices", none}})),
            "✗ 1 differ");
  EXPECT_EQ(said(codec::Json::Object({{"drift", 0}, {"healed", 0}, {"prices", price}})),
            "✗ Prices differ");
  EXPECT_THAT(DriftPage(Owner(), std::nullopt), HasSubstr("No report yet"));
}

TEST(OutboxPageTest, WhatDidNotReachItsReaderHasItsButton) {
  struct Row {
    const char* state;
    const char* kind;
    const char* suppressed;
    const char* button;  // "": none
  };
  const Row rows[] = {{"sent", "license", "", ""},
                      {"sent", "license", "bounced", ""},
                      {"dead", "receipt", "", "Send again"},
                      {"dead", "receipt", "bounced", "Write there again and send it"},
                      {"bounced", "license", "bounced", "Write there again and send it"},
                      {"suppressed", "reissue", "", "Send again"},
                      {"bounced", "receipt", "bounced", "Write there again"},
                      {"bounced", "receipt", "", ""}};
  for (const Row& row : rows) {
    Page<license::MailRow> mails;
    mails.rows.push_back({.id = "mail_1",
                          .kind = row.kind,
                          .license = "lic_1",
                          .recipient = "ann@example.com",
                          .state = row.state,
                          .attempts = 1,
                          .next = {},
                          .provider = "resend",
                          .last_error = "",
                          .created = kNow,
                          .updated = kNow,
                          .suppressed = row.suppressed});
    const std::string page = OutboxPage(Who({Scope::kSupport}), {}, mails);
    const std::string button = "<button>" + std::string(row.button) + "</button>";
    EXPECT_EQ(page.contains("/outbox/mail_1/retry"), *row.button != '\0') << row.state;
    if (*row.button != '\0') EXPECT_TRUE(page.contains(button)) << row.state << row.suppressed;
    EXPECT_EQ(page.contains("name=\"allow\""), button.contains("there")) << row.state;
    EXPECT_FALSE(OutboxPage(Who({Scope::kRead}), {}, mails).contains("/retry"));
  }
}

TEST(AuditPageTest, HoldsOnlyWhereAllWasLookedAt) {
  const auto said = [](const AuditState& state) { return AuditPage(Owner(), "", {}, state); };
  EXPECT_THAT(said({.rows = 7}), HasSubstr("<b>✓ The chain holds</b>All 7 rows"));
  const std::string part = said({.whole = false, .rows = 3});
  EXPECT_THAT(part, HasSubstr("Not looked at all of it yet</b>The first 3 rows hold."));
  EXPECT_THAT(part, Not(HasSubstr("chain holds")));
  EXPECT_THAT(said({.holds = false, .whole = false, .broken_at = 5}), HasSubstr("is broken"));
}

TEST(ConsolePageTest, NothingButTheStyleInThePageIsAllowed) {
  const web::Answer answer = ConsolePage(200, LoginPage("", ""));
  const auto header = [&answer](std::string_view name) {
    for (const auto& [key, value] : answer.headers) {
      if (key == name) return value;
    }
    return std::string();
  };
  EXPECT_THAT(header("Content-Security-Policy"),
              ::testing::MatchesRegex(
                  "default-src 'none'; style-src 'sha256-[A-Za-z0-9+/]{43}='; img-src data:; "
                  "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"));
  EXPECT_EQ(header("X-Frame-Options"), "DENY");
  EXPECT_EQ(header("X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(header("Referrer-Policy"), "no-referrer");
  EXPECT_THAT(answer.body, Not(HasSubstr("style=")));
  EXPECT_THAT(answer.body, Not(HasSubstr("http://www.w3.org/1999")));
}

TEST(SafeNextTest, ALoginLeadsNowhereElse) {
  EXPECT_EQ(SafeNext("/admin/customers/cus_1?a=b"), "/admin/customers/cus_1?a=b");
  for (const char* const bad : {"", "/", "//evil.example", "https://evil.example/admin",
                                "/admin.evil.example", "/administrator", "/admin\\@evil",
                                "/admin/../x", "/admin/ x", "/admin/\r\nx: y", "admin"}) {
    EXPECT_EQ(SafeNext(bad), "/admin") << bad;
  }
}

TEST(ParseAmountTest, AsPeopleTypeThem) {
  EXPECT_EQ(ParseAmount("29", "usd").value_or(0), 2900);
  EXPECT_EQ(ParseAmount(" $29.00 ", "usd").value_or(0), 2900);
  EXPECT_EQ(ParseAmount("0.5", "usd").value_or(0), 50);
  EXPECT_EQ(ParseAmount("¥500", "jpy").value_or(0), 500);
  EXPECT_EQ(ParseAmount("1.234", "kwd").value_or(0), 1234);
  for (const char* const bad : {"", "0", "-5", "$-5", "29.001", "1e3", "29,00", "29.", ".5", "abc",
                                "99999999999999999999", "2 9"}) {
    EXPECT_THAT(ParseAmount(bad, "usd"), FailsWith(Code::kBadRequest)) << bad;
  }
  EXPECT_THAT(ParseAmount("5.0", "jpy"), FailsWith(Code::kBadRequest));
}

TEST(PlaceOfTest, WhatIsNoCustomerIsFoundByItself) {
  const std::string hash = "0x" + std::string(64, 'a');
  const std::string address = "0x" + std::string(40, 'B');
  EXPECT_EQ(PlaceOf(hash), "/admin/payments/" + hash);
  EXPECT_EQ(PlaceOf(address), "/admin/payments?customer=" + address);
  EXPECT_EQ(PlaceOf("pay_01"), "/admin/payments/pay_01");
  EXPECT_EQ(PlaceOf("evt_1"), "/admin/events/evt_1");
  EXPECT_EQ(PlaceOf("cmd_1"), "/admin/commands/cmd_1");
  for (const char* const other : {"ann@example.com", "cus_1", "lic_1", "0x12", "0xzz", ""}) {
    EXPECT_EQ(PlaceOf(other), "") << other;
  }
}

}  // namespace
}  // namespace pontage::console
