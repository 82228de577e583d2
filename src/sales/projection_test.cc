#include "sales/projection.h"

#include <algorithm>
#include <string_view>

#include <gtest/gtest.h>

#include "codec/json.h"
#include "testing/expect.h"
#include "testing/seeds.h"

namespace pontage::sales {
namespace {

using stripe::Invoice;
using stripe::InvoiceLine;
using stripe::MinorUnits;
using stripe::Subscription;
using stripe::SubscriptionItemId;

// Days of a year that begins at 1,700,000,000.
constexpr int64_t kDay = 86'400;
UnixMs Day(int64_t n) { return UnixMs::FromSeconds(1'700'000'000 + n * kDay); }

PlanMap Plans() {
  PlanMap plans;
  plans.Add("pro", {stripe::PriceId("price_pro")});
  plans.Add("team", {stripe::PriceId("price_team"), stripe::PriceId("price_team_2024")});
  plans.Add("basic");
  return plans;
}

stripe::Price PriceOf(std::string_view id) {
  stripe::Price price;
  price.id = stripe::PriceId(std::string(id));
  return price;
}

// An active monthly subscription to "pro" whose second period has begun.
Subscription Monthly() {
  Subscription subscription;
  subscription.id = stripe::SubscriptionId("sub_1");
  subscription.customer = stripe::CustomerId("cus_1");
  subscription.status = stripe::WordOf<stripe::SubscriptionStatus>("active");
  subscription.items.push_back({SubscriptionItemId("si_1"), PriceOf("price_pro"), Day(60), 1});
  subscription.period_end = Day(60);
  return subscription;
}

InvoiceLine Line(int64_t amount, int64_t from, int64_t until, std::string_view price = "price_pro",
                 std::string_view item = "si_1") {
  InvoiceLine line;
  line.amount = MinorUnits(amount);
  line.from = Day(from);
  line.until = Day(until);
  line.subscription = stripe::SubscriptionId("sub_1");
  line.item = SubscriptionItemId(std::string(item));
  line.price = stripe::PriceId(std::string(price));
  return line;
}
InvoiceLine Proration(InvoiceLine line) {
  line.proration = true;
  return line;
}
InvoiceLine Beside(InvoiceLine line) {
  line.extra = true;
  return line;
}
InvoiceLine Nameless(InvoiceLine line) {
  line.item = {};
  line.subscription = {};
  return line;
}

Invoice Bill(std::string_view status, int64_t created, std::vector<InvoiceLine> lines) {
  Invoice invoice;
  invoice.id = stripe::InvoiceId("in_" + std::to_string(created));
  invoice.subscription = stripe::SubscriptionId("sub_1");
  invoice.status = stripe::WordOf<stripe::InvoiceStatus>(status);
  invoice.created = Day(created);
  int64_t total = 0;
  for (const InvoiceLine& line : lines) total += line.amount.count();
  invoice.total = MinorUnits(total);
  invoice.amount_due = MinorUnits(std::max<int64_t>(0, total));
  if (status == "paid") invoice.amount_paid = invoice.amount_due;
  invoice.lines = std::move(lines);
  return invoice;
}
Invoice Another(Invoice invoice) {
  invoice.subscription = stripe::SubscriptionId("sub_2");
  return invoice;
}

std::optional<UnixMs> PaidThrough(const Subscription& subscription,
                                  const std::vector<Invoice>& invoices) {
  return Project(subscription, invoices, Plans()).items.at(0).paid_through;
}

// The period has moved on in every row: Stripe does that first, and charges later.
TEST(ProjectionTest, OnlyPaidInvoicesPay) {
  const Invoice first = Bill("paid", 0, {Line(2900, 0, 30)});
  const struct {
    const char* what;
    std::vector<Invoice> invoices;
    std::optional<int64_t> paid_through;
  } rows[] = {
      {"nothing yet", {}, {}},
      {"the first month", {first}, 30},
      {"the draft of the second", {first, Bill("draft", 30, {Line(2900, 30, 60)})}, 30},
      {"the second failed", {first, Bill("open", 30, {Line(2900, 30, 60)})}, 30},
      {"it was given up", {first, Bill("uncollectible", 30, {Line(2900, 30, 60)})}, 30},
      {"it was voided", {first, Bill("void", 30, {Line(2900, 30, 60)})}, 30},
      {"a word that came later", {first, Bill("postponed", 30, {Line(2900, 30, 60)})}, 30},
      {"the second is paid", {first, Bill("paid", 30, {Line(2900, 30, 60)})}, 60},
      {"the newest first", {Bill("paid", 30, {Line(2900, 30, 60)}), first}, 60},
      {"a month for nothing", {first, Bill("paid", 30, {Line(0, 30, 60)})}, 60},
      {"a trial's invoice", {Bill("paid", 0, {Line(0, 0, 14)})}, 14},
      {"only the first is open", {Bill("open", 0, {Line(2900, 0, 30)})}, {}},
      {"somebody else's", {first, Another(Bill("paid", 30, {Line(2900, 30, 60)}))}, 30},
      {"something sold beside it", {first, Bill("paid", 5, {Beside(Line(900, 5, 365))})}, 30},
      {"lines that name no item", {Bill("paid", 0, {Nameless(Line(2900, 0, 30))})}, 30},
      {"a credit alone", {first, Bill("paid", 5, {Line(-900, 5, 365)})}, 30},
      {"a bill without lines", {first, Bill("paid", 30, {})}, 30},
  };
  for (const auto& row : rows) {
    const auto paid = PaidThrough(Monthly(), row.invoices);
    const auto want = row.paid_through ? std::optional(Day(*row.paid_through)) : std::nullopt;
    EXPECT_EQ(paid, want) << row.what;
  }
}

TEST(ProjectionTest, ChangesOfThePlanPayForWhatTheyName) {
  const Invoice month = Bill("paid", 0, {Line(2900, 0, 30)});
  const Invoice year = Bill("paid", 0, {Line(29'000, 0, 365, "price_year")});
  const auto up = [](const char* status) {
    return Bill(status, 10,
                {Proration(Line(-1900, 10, 30)), Proration(Line(6600, 10, 30, "price_team"))});
  };
  const struct {
    const char* what;
    std::vector<Invoice> invoices;
    int64_t paid_through;
  } rows[] = {
      {"an upgrade, paid at once", {month, up("paid")}, 30},
      {"an upgrade whose difference is not paid", {month, up("open")}, 30},
      {"an upgrade that is paid with the next month",
       {month, Bill("paid", 30,
                    {Proration(Line(-1900, 10, 30)), Proration(Line(6600, 10, 30, "price_team")),
                     Line(9900, 30, 60, "price_team")})},
       60},
      {"a month that became a year",
       {month,
        Bill("paid", 10, {Proration(Line(-1900, 10, 30)), Line(29'000, 10, 375, "price_year")})},
       375},
      {"a year that became a month: the rest of the year was given back",
       {year,
        Bill("paid", 10, {Proration(Line(-28'000, 10, 365, "price_year")), Line(2900, 10, 40)})},
       40},
      {"the same, where the lines name no item",
       {Bill("paid", 0, {Nameless(Line(29'000, 0, 365, "price_year"))}),
        Bill("paid", 10,
             {Nameless(Proration(Line(-28'000, 10, 365, "price_year"))),
              Nameless(Line(2900, 10, 40))})},
       40},
      {"the same, before its invoice is paid",
       {year,
        Bill("draft", 10, {Proration(Line(-28'000, 10, 365, "price_year")), Line(2900, 10, 40)})},
       365},
      {"fewer seats",
       {month, Bill("paid", 10, {Proration(Line(-5800, 10, 30)), Proration(Line(1900, 10, 30))})},
       30},
      {"another item took its place, and is not billed yet",
       {Bill("paid", 0, {Line(2900, 0, 30, "price_pro", "si_0")})},
       30},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(PaidThrough(Monthly(), row.invoices), Day(row.paid_through)) << row.what;
  }
}

// Whatever order Stripe lists them in.
TEST(ProjectionTest, TheOrderOfTheInvoicesChangesNothing) {
  std::vector<Invoice> invoices = {
      Bill("paid", 0, {Line(29'000, 0, 365, "price_year")}),
      Bill("paid", 10, {Proration(Line(-28'000, 10, 365, "price_year")), Line(2900, 10, 40)}),
      Bill("open", 40, {Line(2900, 40, 70)}),
  };
  std::vector<size_t> order = {0, 1, 2};
  do {
    const std::vector<Invoice> shuffled = {invoices[order[0]], invoices[order[1]],
                                           invoices[order[2]]};
    EXPECT_EQ(PaidThrough(Monthly(), shuffled), Day(40));
    EXPECT_EQ(LatestPaid(shuffled)->id, stripe::InvoiceId("in_0")) << "the others cost nothing";
  } while (std::ranges::next_permutation(order).found);
}

// Their ids are random, and their times have whole seconds.
TEST(ProjectionTest, OfOneSecondTheOneListedFirstIsTheLater) {
  const Invoice month = Bill("paid", 0, {Line(2900, 0, 30)});
  Invoice team = Bill(
      "paid", 10, {Proration(Line(-1900, 10, 30)), Proration(Line(6600, 10, 30, "price_team"))});
  Invoice year =
      Bill("paid", 10,
           {Proration(Line(-6600, 10, 30, "price_team")), Line(29'000, 10, 375, "price_year")});
  for (const bool swapped : {false, true}) {
    team.id = stripe::InvoiceId(swapped ? "in_b" : "in_a");
    year.id = stripe::InvoiceId(swapped ? "in_a" : "in_b");
    EXPECT_EQ(PaidThrough(Monthly(), {year, team, month}), Day(375));
    EXPECT_EQ(LatestPaid(std::vector{year, team, month})->id, year.id);
  }
}

TEST(ProjectionTest, ItemsOfOneSubscriptionArePaidForOnTheirOwn) {
  Subscription subscription = Monthly();
  subscription.items.push_back({SubscriptionItemId("si_2"), PriceOf("price_team"), Day(365), 1});
  const std::vector<Invoice> invoices = {
      Bill("paid", 0, {Line(2900, 0, 30), Line(90'000, 0, 365, "price_team", "si_2")})};
  const Projection projection = Project(subscription, invoices, Plans());
  EXPECT_EQ(projection.items.at(0).paid_through, Day(30));
  EXPECT_EQ(projection.items.at(1).paid_through, Day(365));
  EXPECT_EQ(projection.items.at(0).plan, "pro");
  EXPECT_EQ(projection.items.at(1).plan, "team");
}

TEST(ProjectionTest, AnAddedItemIsNotPaidForByTheOthersWhileAnInvoiceIsOwed) {
  Subscription both = Monthly();
  both.items.push_back({SubscriptionItemId("si_2"), PriceOf("price_team"), Day(60), 1});
  const std::vector<Invoice> invoices = {
      Bill("paid", 0, {Line(2900, 0, 30)}),
      Bill("open", 10, {Proration(Line(6000, 10, 30, "price_team", "si_2"))})};
  EXPECT_EQ(Project(both, invoices, Plans()).items.at(1).paid_through, Day(30))
      << "it is billed with the next period";
  both.status = stripe::WordOf<stripe::SubscriptionStatus>("past_due");
  EXPECT_EQ(Project(both, invoices, Plans()).items.at(0).paid_through, Day(30));
  EXPECT_EQ(Project(both, invoices, Plans()).items.at(1).paid_through, std::nullopt);
  both.items.erase(both.items.begin());
  EXPECT_EQ(Project(both, invoices, Plans()).items.at(0).paid_through, Day(30))
      << "it has replaced what was paid for";
}

// He who has not paid for the change has what he paid for.
TEST(ProjectionTest, AChangeThatIsOwedChangesNothingUntilItIsPaid) {
  const Invoice month = Bill("paid", 0, {Line(2900, 0, 30)});
  const std::vector<InvoiceLine> change = {Proration(Line(-1900, 10, 30)),
                                           Proration(Line(6600, 10, 30, "price_team"))};
  const std::vector<InvoiceLine> longer = {Proration(Line(-1900, 10, 30)),
                                           Line(290'000, 10, 375, "price_team")};
  std::vector<InvoiceLine> renewal = change;
  renewal.push_back(Line(9900, 30, 60, "price_team"));
  const struct {
    const char* what;
    std::vector<Invoice> invoices;
    const char* status;
    std::string_view kept;  // empty: as Stripe has it
  } rows[] = {
      {"owed", {Bill("open", 10, change), month}, "past_due", "price_pro"},
      {"given up", {Bill("uncollectible", 10, change), month}, "past_due", "price_pro"},
      {"owed, of another length", {Bill("open", 10, longer), month}, "past_due", "price_pro"},
      {"paid", {Bill("paid", 10, change), month}, "active", ""},
      {"paid, and the renewal owed",
       {Bill("open", 30, {Line(9900, 30, 60, "price_team")}), Bill("paid", 10, change), month},
       "past_due",
       ""},
      {"billed with the renewal, which is owed",
       {Bill("open", 30, renewal), month},
       "past_due",
       ""},
      {"billed later", {month}, "active", ""},
      {"asked for just now", {Bill("open", 10, change), month}, "active", ""},
      {"taken back", {Bill("void", 10, change), month}, "past_due", ""},
      {"something beside it is owed",
       {Bill("open", 10, {Beside(Line(900, 10, 30, "price_team"))}), month},
       "past_due",
       ""},
      {"nothing was paid before", {Bill("open", 10, change)}, "past_due", ""},
  };
  for (const auto& row : rows) {
    Subscription subscription = Monthly();
    subscription.items.at(0).price = PriceOf("price_team");
    subscription.status = stripe::WordOf<stripe::SubscriptionStatus>(row.status);
    const ProjectedItem item = Project(subscription, row.invoices, Plans()).items.at(0);
    EXPECT_EQ(item.paid_price.value_or(stripe::PriceId()).str(), row.kept) << row.what;
    EXPECT_EQ(item.price.str(), "price_team") << row.what;
    if (!row.kept.empty()) {
      EXPECT_EQ(item.paid_through, Day(30)) << row.what;
    }
  }
}

TEST(ProjectionTest, AnItemInPlaceOfAnotherThatIsOwedChangesNothingEither) {
  Subscription subscription = Monthly();
  subscription.items.at(0).id = SubscriptionItemId("si_2");
  subscription.items.at(0).price = PriceOf("price_team");
  subscription.status = stripe::WordOf<stripe::SubscriptionStatus>("past_due");
  const Invoice month = Bill("paid", 0, {Line(2900, 0, 30)});
  const Invoice change =
      Bill("open", 10,
           {Proration(Line(-1900, 10, 30)), Proration(Line(6600, 10, 30, "price_team", "si_2"))});
  const ProjectedItem item = Project(subscription, {{change, month}}, Plans()).items.at(0);
  EXPECT_EQ(item.paid_price.value_or(stripe::PriceId()).str(), "price_pro");
  EXPECT_EQ(item.paid_through, Day(30));
}

// The month that was given back is not the one that runs.
TEST(ProjectionTest, ALaterPeriodThatIsPaidMakesARefundOfTheOneBeforeNoMatter) {
  const Invoice first = Bill("paid", 0, {Line(2900, 0, 30)});
  Invoice by_coupon = Bill("paid", 30, {Line(2900, 30, 60)});
  by_coupon.amount_due = by_coupon.amount_paid = MinorUnits(0);
  Invoice change = Bill("paid", 10, {Proration(Line(-100, 10, 40)), Proration(Line(100, 10, 40))});
  const struct {
    const char* what;
    std::vector<Invoice> invoices;
    bool superseded;
  } rows[] = {
      {"alone", {first}, false},
      {"by a coupon", {by_coupon, first}, true},
      {"one that is owed", {Bill("open", 30, {Line(2900, 30, 60)}), first}, false},
      {"a change within the month", {change, first}, false},
      {"what is sold beside it", {Bill("paid", 30, {Beside(Line(0, 30, 90))}), first}, false},
      {"another subscription's", {Another(by_coupon), first}, false},
      {"the same period again", {Bill("paid", 5, {Line(0, 0, 30)}), first}, false},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(IsSuperseded(first, row.invoices), row.superseded) << row.what;
  }
}

TEST(ProjectionTest, ATrialCountsAsPaidWhileItLasts) {
  Subscription subscription = Monthly();
  subscription.trial_end = Day(14);
  const std::vector<Invoice> unpaid = {Bill("draft", 14, {Line(2900, 14, 44)})};
  EXPECT_EQ(PaidThrough(subscription, unpaid), std::nullopt) << "it is over";
  subscription.status = stripe::WordOf<stripe::SubscriptionStatus>("trialing");
  EXPECT_EQ(PaidThrough(subscription, {}), Day(14));
  EXPECT_EQ(PaidThrough(subscription, {Bill("paid", 0, {Line(0, 0, 14)})}), Day(14));
}

TEST(ProjectionTest, APriceBelongsToAPlanOrOpensNothing) {
  stripe::Price by_key = PriceOf("price_9");
  by_key.lookup_key = "basic";
  stripe::Price other_key = by_key;
  other_key.lookup_key = "gold";
  stripe::Price ours_before = PriceOf("price_8");
  ours_before.metadata.emplace("plan", "pro");
  stripe::Price other_plan = PriceOf("price_8");
  other_plan.metadata.emplace("plan", "gold");
  stripe::Price id_first = PriceOf("price_team");
  id_first.lookup_key = "basic";
  const struct {
    const char* what;
    stripe::Price price;
    std::string_view plan;
  } rows[] = {
      {"by its id", PriceOf("price_pro"), "pro"},
      {"by an older id", PriceOf("price_team_2024"), "team"},
      {"by its lookup key", by_key, "basic"},
      {"by a key of no plan", other_key, ""},
      {"by the plan that it was made for", ours_before, "pro"},
      {"made for a plan that is gone", other_plan, ""},
      {"the id counts before the key", id_first, "team"},
      {"a price of something else", PriceOf("price_7"), ""},
      {"no id at all", stripe::Price(), ""},
  };
  for (const auto& row : rows) {
    Subscription subscription = Monthly();
    subscription.items[0].price = row.price;
    // What checkout wrote goes stale with the first change in the portal.
    subscription.metadata.emplace("plan", "team");
    const Projection projection = Project(subscription, {}, Plans());
    EXPECT_EQ(projection.items.at(0).plan, row.plan) << row.what;
    EXPECT_EQ(projection.items.at(0).price, row.price.id);
  }
}

TEST(ProjectionTest, WhatElseIsKept) {
  Subscription subscription = Monthly();
  subscription.cancel_at_period_end = true;
  subscription.cancel_at = Day(60);
  subscription.ended_at = Day(61);
  subscription.collection_paused = true;
  subscription.status = stripe::WordOf<stripe::SubscriptionStatus>("hibernating");
  const std::vector<Invoice> invoices = {Bill("paid", 0, {Line(2900, 0, 30)}),
                                         Bill("paid", 20, {Line(0, 20, 30)}),
                                         Bill("open", 30, {Line(2900, 30, 60)})};
  const Projection projection = Project(subscription, invoices, Plans());
  EXPECT_EQ(projection.id, subscription.id);
  EXPECT_EQ(projection.customer, subscription.customer);
  EXPECT_EQ(projection.status.text, "hibernating");
  EXPECT_EQ(projection.period_end, Day(60));
  EXPECT_EQ(projection.cancel_at, Day(60));
  EXPECT_EQ(projection.ended_at, Day(61));
  EXPECT_TRUE(projection.cancel_at_period_end);
  EXPECT_TRUE(projection.collection_paused);
  EXPECT_EQ(projection.latest_paid, stripe::InvoiceId("in_0")) << "of those with money in them";
  EXPECT_EQ(Project(subscription, {}, Plans()).latest_paid, std::nullopt);
}

// The same month as both eras write it, read and projected.
TEST(ProjectionTest, BothErasOfStripesObjectsMeanTheSame) {
  const std::string_view subscriptions[] = {
      R"({"id":"sub_1","object":"subscription","customer":"cus_1","status":"active","created":1,
          "items":{"object":"list","data":[{"id":"si_1","current_period_end":1705184000,
            "price":{"id":"price_pro"}}]}})",
      R"({"id":"sub_1","object":"subscription","customer":"cus_1","status":"active","created":1,
          "current_period_end":1705184000,
          "items":{"object":"list","data":[{"id":"si_1","price":{"id":"price_pro"}}]}})",
  };
  const std::string_view invoices[] = {
      R"({"id":"in_1","object":"invoice","status":"paid","amount_due":2900,"amount_paid":2900,
          "created":1700000000,"parent":{"type":"subscription_details",
            "subscription_details":{"subscription":"sub_1"}},
          "lines":{"data":[{"id":"il_1","amount":2900,
            "period":{"start":1700000000,"end":1702592000},
            "parent":{"type":"subscription_item_details","subscription_item_details":{
              "subscription":"sub_1","subscription_item":"si_1","proration":false}},
            "pricing":{"price_details":{"price":"price_pro"}}}]}})",
      R"({"id":"in_1","object":"invoice","status":"paid","amount_due":2900,"amount_paid":2900,
          "created":1700000000,"subscription":"sub_1","paid":true,
          "lines":{"data":[{"id":"il_1","amount":2900,"type":"subscription","proration":false,
            "period":{"start":1700000000,"end":1702592000},"subscription":"sub_1",
            "subscription_item":"si_1","price":{"id":"price_pro"}}]}})",
  };
  for (size_t era = 0; era < 2; ++era) {
    const codec::Json sub_json = codec::ParseJson(subscriptions[era]).value();
    const codec::Json in_json = codec::ParseJson(invoices[era]).value();
    const auto subscription = stripe::ReadSubscription(codec::JsonReader::Of(sub_json).value());
    const auto invoice = stripe::ReadInvoice(codec::JsonReader::Of(in_json).value());
    ASSERT_THAT(subscription, testing::IsOk());
    ASSERT_THAT(invoice, testing::IsOk());
    const Projection projection = Project(*subscription, {&*invoice, 1}, Plans());
    EXPECT_EQ(projection.items.at(0).paid_through, UnixMs::FromSeconds(1'702'592'000)) << era;
    EXPECT_EQ(projection.period_end, UnixMs::FromSeconds(1'705'184'000)) << era;
    EXPECT_EQ(projection.items.at(0).plan, "pro") << era;
  }
}

// However invoices come about: what is paid through was on a line of a paid invoice, and an unpaid
// one changes nothing.
TEST(ProjectionTest, NothingIsPaidThroughThatNoPaidLineNames) {
  const std::string_view states[] = {"draft", "open", "paid", "uncollectible", "void"};
  for (const uint64_t seed : testing::Seeds(200)) {
    SCOPED_TRACE(testing::Rerun(seed));
    SeededRng rng(seed);
    std::vector<Invoice> invoices;
    std::vector<Invoice> paid;
    std::optional<UnixMs> most;
    for (uint64_t n = rng.Next64() % 6; n > 0; --n) {
      const std::string_view status = states[rng.Next64() % 5];
      const auto from = static_cast<int64_t>(rng.Next64() % 300);
      const auto days = static_cast<int64_t>(rng.Next64() % 60);
      const int64_t amount = rng.Next64() % 3 == 0 ? -500 : 2900;
      InvoiceLine line = Line(amount, from, from + days);
      line.proration = rng.Next64() % 2 == 0;
      invoices.push_back(Bill(status, from, {line}));
      if (status != "paid") continue;
      paid.push_back(invoices.back());
      if (amount > 0 && (!most || line.until > *most)) most = line.until;
    }
    const auto through = PaidThrough(Monthly(), invoices);
    EXPECT_EQ(through.has_value(), most.has_value());
    if (through) {
      EXPECT_LE(*through, *most);
    }
    EXPECT_EQ(through, PaidThrough(Monthly(), paid));
  }
}

}  // namespace
}  // namespace pontage::sales
