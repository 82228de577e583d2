#include <algorithm>

#include "app/card_rail_gaps.h"
#include "app/cli/doctor.h"
#include "app/sales_wiring.h"
#include "base/try.h"
#include "sales/inbox.h"
#include "sales/setup.h"

namespace pontage::app {
namespace {

using stripe::WebhookEndpoint;

std::string EndpointFault(const WebhookEndpoint& one) {
  std::string fault;
  const auto add = [&fault](const std::string& text) {
    fault += (fault.empty() ? "" : ", ") + text;
  };
  if (!one.enabled) add("is disabled at Stripe");
  if (one.api_version != sales::kStripeVersion) {
    add("speaks " +
        (one.api_version.empty() ? std::string("the account's version") : one.api_version) +
        ", we read " + std::string(sales::kStripeVersion));
  }
  const auto listens = [&one](const std::string& type) {
    return std::ranges::find(one.enabled_events, type) != one.enabled_events.end();
  };
  if (!listens("*")) {
    const std::vector<std::string> wanted = sales::WebhookEvents();
    const auto deaf =
        std::ranges::count_if(wanted, [&](const auto& type) { return !listens(type); });
    if (deaf > 0) add("does not listen to " + std::to_string(deaf) + " events that it should");
  }
  return fault;
}

Task<> ExamineEndpoint(Exam& exam, sales::StripeClient& stripe, Deadline by) {
  const std::string what = "webhook endpoint";
  if (exam.config.server.public_url.empty()) {
    exam.Warn(what, "Stripe cannot know where we are", "public_url under [server]");
    co_return {};
  }
  const std::string url = exam.config.server.public_url + "/webhooks/stripe";
  const auto all = co_await stripe.ListWebhookEndpoints(by);
  if (!all) {
    exam.Warn(what, all.error().detail(), "the key needs to read webhook endpoints");
    co_return {};
  }
  const auto ours = std::ranges::find(*all, url, &WebhookEndpoint::url);
  if (ours == all->end()) {
    exam.Bad(what, "Stripe has none with " + url, "pontage stripe setup");
    co_return {};
  }
  const std::string fault = EndpointFault(*ours);
  if (fault.empty()) {
    exam.Ok(what, url + " of " + ours->api_version);
  } else {
    exam.Warn(what, url + " " + fault,
              "change it at Stripe, or delete it and `pontage stripe setup`");
  }
  co_return {};
}

void ExamineMail(Exam& exam) {
  const MailConfig& mail = exam.config.mail;
  if (!mail.present) {
    exam.Warn("mail", "none is configured: licenses are shown on the page of success alone",
              "[mail] with a provider");
    return;
  }
  std::string through = mail.api_key.empty() ? "" : "Resend";
  if (!mail.host.empty()) through += (through.empty() ? "" : " and ") + mail.host;
  if (!through.empty()) exam.Ok("mail", "from " + mail.from + " through " + through);
}

}  // namespace

Task<> ExamineSales(Exam& exam, Deadline by) {
  const Config& config = exam.config;
  for (const CardRailGap& gap : CardRailGaps(config)) {
    exam.Warn(std::string(gap.check), gap.Text(), std::string(gap.remedy));
  }
  if (config.stripe.present || config.mail.present) ExamineMail(exam);
  if (config.stripe.api_key.empty()) co_return {};
  const auto stripe = MakeStripe(config, Clock::System(), Rng::System());
  if (!stripe) {
    exam.Bad("stripe", stripe.error().detail(), stripe.error().expected());
    co_return {};
  }
  const std::string url =
      config.server.public_url.empty() ? "http://localhost" : config.server.public_url;
  const sales::Shop shop = ShopOf(config, url);
  const auto differing = co_await sales::ComparePrices(**stripe, shop, by);
  if (!differing) {
    exam.Bad("stripe", differing.error().detail(), "check stripe.api_key and stripe.api_base");
    co_return {};
  }
  exam.Ok("stripe", config.stripe.api_base + " answers");
  for (const sales::PriceDifference& one : *differing) {
    exam.Warn("price of " + one.plan, one.ours + " here, " + one.stripes + " at Stripe",
              "`pontage stripe setup` makes the price of the file; buyers pay what Stripe has");
  }
  if (differing->empty() && !shop.plans.empty()) {
    exam.Ok("prices", std::to_string(shop.plans.size()) + " plans cost the same at Stripe");
  }
  PTG_CO_RUN(co_await ExamineEndpoint(exam, **stripe, by));
  exam.Ok("receipts", "Stripe mails invoices and receipts, if it is told to",
          "Dashboard, Settings, Customer emails: turn on \"Successful payments\" and \"Refunds\"");
  co_return {};
}

}  // namespace pontage::app
