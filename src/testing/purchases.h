#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "license/claims.h"
#include "sales/mail/mail_outbox.h"
#include "sales/purchase.h"
#include "testing/engines.h"
#include "testing/expect.h"
#include "testing/stepped_clock.h"

// A shop of two plans and its books, for the tests of what purchases do to licenses.
namespace pontage::sales {

inline constexpr Millis kDay{86'400'000};

inline Shop TheShop() {
  Shop shop;
  shop.issuer = "https://api.example.com";
  shop.public_url = "https://api.example.com";
  shop.seller = {.from = "Example <keys@example.com>",
                 .name = "Example",
                 .call_url = "https://api.example.com/v1/",
                 .mcp_url = "",
                 .manage_url = "https://api.example.com/billing"};
  SoldPlan pro;
  pro.name = "pro";
  pro.products = {"yield"};
  pro.limits = {.monthly = 100, .rpm = 0};
  pro.interval = "month";
  SoldPlan team = pro;
  team.name = "team";
  team.products = {"yield", "docs"};
  shop.plans = {{"pro", pro}, {"team", team}};
  return shop;
}

class PurchaseTest : public ::testing::TestWithParam<pontage::testing::EngineKind> {
 protected:
  PurchaseTest()
      : engine_(GetParam()),
        database_(engine_.OpenMigrated()),
        fulfilment_(
            shop_, [](const license::Claims& c) { return "token." + c.id + ".x"; }, clock_, rng_) {}

  PurchaseFacts Facts() {
    PurchaseFacts facts;
    facts.id = "sub_1";
    facts.customer = "cus_1";
    facts.email = "Ann@Example.com";
    facts.subscription = "sub_1";
    facts.status = "active";
    SoldItem item;
    item.origin = "sub:sub_1:si_1";
    item.plan = "pro";
    item.facts.status = stripe::SubscriptionStatus::kActive;
    item.facts.paid_through = clock_.Now() + 30 * kDay;
    item.facts.grace = 3 * kDay;
    facts.items.push_back(item);
    return facts;
  }
  Fulfilled Apply(const PurchaseFacts& facts, std::optional<FailedInvoice> failed = {}) {
    const auto lease = [&](db::Tx& tx) {
      return LeasePurchase(tx, facts.id, "me", clock_.Now(), Millis(0));
    };
    EXPECT_TRUE(database_->WriteNow(lease).value_or(false));
    const auto done =
        database_->WriteNow([&](db::Tx& tx) { return fulfilment_.Apply(tx, facts, failed); });
    EXPECT_THAT(done, pontage::testing::IsOk());
    return done.value_or(Fulfilled{});
  }
  std::vector<license::License> Licenses() {
    return database_->ReadNow([](db::Tx& tx) { return license::ListLicenses(tx, {}); })
        .value_or(std::vector<license::License>());
  }
  // Kinds of the mails in the outbox, oldest first.
  std::vector<std::string> Mails() {
    std::vector<std::string> kinds;
    const auto rows = database_->ReadNow([](db::Tx& tx) { return mail::ListMails(tx, {}); });
    EXPECT_THAT(rows, pontage::testing::IsOk());
    if (rows) {
      for (const mail::OutboxRow& row : *rows) kinds.insert(kinds.begin(), row.kind);
    }
    return kinds;
  }
  size_t Lines() {
    return database_->ReadNow([](db::Tx& tx) { return license::ReadFeed(tx, 0, 100); })
        .value_or(std::vector<license::FeedEntry>())
        .size();
  }

  pontage::testing::SteppedClock clock_;
  SeededRng rng_{1};
  Shop shop_ = TheShop();
  pontage::testing::Engine engine_;
  std::unique_ptr<db::Database> database_;
  Fulfilment fulfilment_;
};

}  // namespace pontage::sales
