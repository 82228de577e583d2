#include "app/demo_shop.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <functional>
#include <unistd.h>

#include "base/try.h"
#include "codec/base64url.h"
#include "codec/json.h"
#include "crypto/ed25519.h"
#include "crypto/jwt.h"
#include "io/timer.h"
#include "net/client.h"

namespace pontage::app {
namespace {

using codec::Json;

constexpr std::string_view kBuyer = "ann@buyer.example";
constexpr Millis kPatience{20'000};
constexpr Millis kLookAgain{100};

Error Odd(std::string_view what) {
  return Error(Code::kInternal, "the demo's purchase by card: " + std::string(what));
}

std::string TextAt(const Json& json, std::string_view key) {
  const Json* found = json.IsObject() ? json.Find(key) : nullptr;
  return found == nullptr || found->AsString() == nullptr ? std::string() : *found->AsString();
}

// What a browser, or curl, gets.
Task<net::Client::Whole> Fetch(std::string method, std::string url, net::Headers headers,
                               std::string body, Deadline by) {
  PTG_CO_TRY(const net::Url parsed, net::ParseUrl(url));
  net::Client client(*Loop::Current());
  net::RequestHead head;
  head.method = std::move(method);
  head.target = parsed.path;
  head.headers = std::move(headers);
  co_return co_await client.Fetch(parsed, std::move(head), std::move(body), 1 << 20, by);
}

Result<> WriteKeys(const std::string& dir, Rng& rng) {
  std::array<uint8_t, 32> bytes{};
  rng.Fill(bytes);
  const Secret seed{std::string(codec::AsText(bytes))};
  PTG_TRY(const crypto::Ed25519Key key, crypto::Ed25519Key::FromSeed(seed));
  const crypto::Jwk jwk{.kid = crypto::Thumbprint(key.public_key()),
                        .key = key.public_key(),
                        .not_after = std::nullopt};
  const Secret pem = crypto::PrivatePem(seed);
  PTG_RUN(WritePrivate(dir + "/license.pem", pem.Reveal()));
  return WritePrivate(dir + "/jwks.json", codec::ToString(crypto::JwksOf({&jwk, 1})) + '\n');
}

}  // namespace

Result<> WritePrivate(const std::string& path, std::string_view text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  const bool whole =
      fd >= 0 && write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (fd >= 0) close(fd);
  if (whole) return {};
  return Fail(Code::kConfig, "cannot write " + path + ": " + std::strerror(errno));
}

DemoShop::DemoShop(std::string public_url, const Clock& clock, Rng& rng)
    : public_url_(std::move(public_url)),
      clock_(clock),
      rng_(rng),
      stripe_(clock, rng),
      mailbox_(clock, rng) {}

Result<std::unique_ptr<DemoShop>> DemoShop::Open(const std::string& dir,
                                                 const std::string& public_url, const Clock& clock,
                                                 Rng& rng) {
  std::unique_ptr<DemoShop> shop(new DemoShop(public_url, clock, rng));
  PTG_RUN(shop->Build(dir));
  return shop;
}

Result<Json> DemoShop::Ask(std::string path, std::string form) {
  sandbox::StripeRequest request;
  request.method = "POST";
  request.target = std::move(path);
  request.body = std::move(form);
  request.content_type = "application/x-www-form-urlencoded";
  request.authorization = "Bearer sk_test_demo";
  const sandbox::StripeAnswer answer = stripe_.Handle(request);
  if (answer.status != 200) return Fail(Odd(answer.body));
  return codec::ParseJson(answer.body);
}

Result<> DemoShop::Build(const std::string& dir) {
  const std::function<Task<>()> deliveries = [this] { return stripe_.RunDeliveries(); };
  PTG_TRY(payments_,
          LocalServer::Start("127.0.0.1:0", sandbox::StripeHandler(stripe_), deliveries));
  stripe_.ServeAt(payments_->url());
  PTG_TRY(mails_, LocalServer::Start("127.0.0.1:0", sandbox::MailboxHandler(mailbox_)));
  PTG_RUN(Ask("/v1/prices",
              "currency=usd&unit_amount=2900&recurring[interval]=month"
              "&product_data[name]=Pro&lookup_key=pro"));
  std::string url;
  for (const char c : public_url_) url += c == ':' ? "%3A" : c == '/' ? "%2F" : std::string(1, c);
  PTG_TRY(const Json endpoint,
          Ask("/v1/webhook_endpoints", "url=" + url +
                                           "%2Fwebhooks%2Fstripe&enabled_events[]=*"
                                           "&api_version=2026-10-28.endive"));
  PTG_RUN(WriteKeys(dir, rng_));
  PTG_RUN(WritePrivate(dir + "/stripe.key", "sk_test_demo\n"));
  PTG_RUN(WritePrivate(dir + "/stripe_webhook.key", TextAt(endpoint, "secret") + '\n'));
  return WritePrivate(dir + "/resend.key", "re_demo\n");
}

std::string DemoShop::Toml() const {
  return "\n[[plan]]\n"
         "name = \"pro\"\n"
         "price = \"$29/month\"\n\n"
         "[license]\n"
         "signing_key = \"file:license.pem\"\n"
         "jwks = \"file:jwks.json\"\n\n"
         "[stripe]\n"
         "api_key = \"file:stripe.key\"\n"
         "webhook_secret = [\"file:stripe_webhook.key\"]\n"
         "api_base = \"" +
         stripe_url() +
         "\"\n\n"
         "[mail]\n"
         "provider = \"resend\"\n"
         "api_key = \"file:resend.key\"\n"
         "api_base = \"" +
         mailbox_url() +
         "\"\n"
         "from = \"Sample <keys@sample.example>\"\n";
}

Task<DemoShop::Bought> DemoShop::Buy(std::string paid_url) {
  const Deadline by = Deadline::In(clock_, kPatience);
  net::Headers json;
  json.Add("Content-Type", "application/json");
  json.Add("Accept", "application/json");
  const Json wish = Json::Object({{"plan", plan()}, {"email", kBuyer}});
  PTG_CO_TRY(
      const net::Client::Whole opened,
      co_await Fetch("POST", public_url_ + "/billing/checkout", json, codec::ToString(wish), by));
  const Result<Json> page = codec::ParseJson(opened.body);
  if (opened.head.status != 200 || !page) co_return Fail(Odd(opened.body));
  net::Headers form;
  form.Add("Content-Type", "application/x-www-form-urlencoded");
  PTG_CO_TRY(const net::Client::Whole paid,
             co_await Fetch("POST", TextAt(*page, "url"), form, "outcome=paid", by));
  const std::string back(paid.head.headers.Get("Location").value_or(""));
  if (paid.head.status != 303) co_return Fail(Odd(paid.body));
  Bought bought;
  while (bought.license.empty() || bought.mail_id.empty()) {
    if (by.Passed(clock_)) co_return Fail(Odd("the license is late"));
    PTG_CO_TRY(const net::Client::Whole said, co_await Fetch("GET", back, json, "", by));
    const Result<Json> success = codec::ParseJson(said.body);
    if (success) bought.license = TextAt(*success, "license");
    for (const sandbox::MailboxMail& mail : mailbox_.Mails()) {
      if (bought.license.empty() || !mail.text.contains(bought.license)) continue;
      bought.mail_id = mail.id;
      bought.subject = mail.subject;
    }
    PTG_CO_RUN(co_await Sleep(kLookAgain));
  }
  net::Headers with;
  with.Add("Authorization", "Bearer " + bought.license);
  PTG_CO_TRY(net::Client::Whole answer, co_await Fetch("GET", std::move(paid_url), with, "", by));
  bought.status = answer.head.status;
  bought.body = std::move(answer.body);
  co_return bought;
}

}  // namespace pontage::app
