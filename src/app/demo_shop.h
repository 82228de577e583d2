#pragma once

#include <memory>
#include <string>

#include "app/local_server.h"
#include "base/rng.h"
#include "base/time.h"
#include "io/task.h"
#include "sandbox/mailbox/mailbox.h"
#include "sandbox/stripe/double.h"

namespace pontage::app {

// The card rail of the demo: Stripe's double with one plan to sell, a mailbox, and a buyer with a
// test card.
class DemoShop {
 public:
  // Opens both on ports of their own; keys and secrets of the configuration become files in `dir`.
  // Stripe's events go to the gateway at `public_url`. kConfig, kConnection.
  static Result<std::unique_ptr<DemoShop>> Open(const std::string& dir,
                                                const std::string& public_url, const Clock& clock,
                                                Rng& rng);

  // [[plan]] to [mail], for the configuration in `dir`.
  std::string Toml() const;
  const char* plan() const { return "pro"; }
  std::string stripe_url() const { return payments_->url(); }
  std::string mailbox_url() const { return mails_->url(); }

  // What became of buying a license: the page's word, the mail's, and the call that it opened.
  struct Bought {
    std::string license;
    std::string mail_id;
    std::string subject;
    int status = 0;    // of `paid_url` with the license
    std::string body;  // and what it gave
  };
  // Buys as a person does: at the gateway's checkout, on the hosted page, and waits for the mail;
  // then asks for `paid_url`. kInternal when it went another way.
  Task<Bought> Buy(std::string paid_url);

 private:
  DemoShop(std::string public_url, const Clock& clock, Rng& rng);
  Result<> Build(const std::string& dir);
  // What Stripe's API answers to a form; kInternal when that is a refusal.
  Result<codec::Json> Ask(std::string path, std::string form);

  std::string public_url_;
  const Clock& clock_;
  Rng& rng_;
  sandbox::StripeDouble stripe_;
  sandbox::Mailbox mailbox_;
  std::unique_ptr<LocalServer> payments_;
  std::unique_ptr<LocalServer> mails_;
};

// Makes `path`, for its owner alone. kConfig when it is there or cannot be made.
Result<> WritePrivate(const std::string& path, std::string_view text);

}  // namespace pontage::app
