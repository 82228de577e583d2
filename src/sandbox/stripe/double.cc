#include "sandbox/stripe/double.h"

#include <array>
#include <mutex>
#include <utility>

#include "base/try.h"
#include "io/fork.h"
#include "io/timer.h"
#include "net/client.h"
#include "sandbox/stripe/account.h"
#include "sandbox/stripe/gate.h"
#include "sandbox/stripe/pages.h"
#include "sandbox/stripe/portal.h"
#include "sandbox/stripe/roll.h"
#include "sandbox/stripe/test_actions.h"

namespace pontage::sandbox {
namespace {

using stripe::Answered;
using stripe::FormNode;
using stripe::Outgoing;
using stripe::Params;

// How often it is looked whether something is to be sent.
constexpr Millis kLook{20};
// How long an endpoint may take; Stripe does not say how long it waits.
constexpr Millis kDeliveryTimeout{10'000};
constexpr size_t kLanes = 8;                     // deliveries under way at once
constexpr size_t kMaxEndpointAnswer = 64 << 10;  // only its status counts

StripeAnswer JsonAnswer(const Answered<codec::Json>& json) {
  StripeAnswer answer;
  answer.status = json ? 200 : json.error().status;
  answer.body = ToString(json ? *json : ToJson(json.error(), "req_test"));
  return answer;
}

StripeAnswer PageAnswer(stripe::Page page) {
  StripeAnswer answer;
  answer.status = page.status;
  answer.content_type = std::move(page.content_type);
  answer.body = std::move(page.body);
  if (!page.location.empty()) answer.headers.emplace_back("Location", std::move(page.location));
  answer.headers.emplace_back("Cache-Control", "no-store");
  answer.headers.emplace_back("Content-Security-Policy",
                              "default-src 'none'; style-src 'unsafe-inline'");
  answer.headers.emplace_back("X-Content-Type-Options", "nosniff");
  return answer;
}

}  // namespace

struct StripeDouble::Impl {
  Impl(const Clock& clock, Rng& rng) : account(clock, rng), gate(account) {
    stripe::AddDefaultPortal(account);
  }

  StripeAnswer Handle(const StripeRequest& request) {
    const std::string_view path =
        std::string_view(request.target).substr(0, request.target.find('?'));
    if (path.starts_with("/v1/") || path.starts_with("/v2/")) return gate.Handle(request);
    const bool test = path.starts_with("/_test/");
    const Answered<FormNode> form = stripe::FormOf(request, test);
    if (test) {
      if (!form) return JsonAnswer(std::unexpected(form.error()));
      return JsonAnswer(TestAction(account, request.method, path, Params(*form)));
    }
    if (!form) return PageAnswer(stripe::HtmlPage(400, "Not understood", ""));
    return PageAnswer(ServePage(account, request.method, path, Params(*form)));
  }

  // One delivery after the other, for ever; waits for `ready` while there is none.
  Task<> Deliver(net::Client& client, Event& ready);

  bool Due() {
    const std::lock_guard lock(mutex);
    return account.deliveries.due(account.clock.Now());
  }
  std::optional<Outgoing> Take() {
    const std::lock_guard lock(mutex);
    return account.deliveries.Take(account);
  }
  void Done(stripe::Delivery delivery, int status) {
    const std::lock_guard lock(mutex);
    account.deliveries.Done(account, std::move(delivery), status);
  }

  std::mutex mutex;
  stripe::Account account;
  stripe::Gate gate;
};

StripeDouble::StripeDouble(const Clock& clock, Rng& rng)
    : impl_(std::make_unique<Impl>(clock, rng)) {}
StripeDouble::~StripeDouble() = default;

void StripeDouble::ServeAt(std::string url) {
  const std::lock_guard lock(impl_->mutex);
  impl_->account.url = std::move(url);
}

StripeAnswer StripeDouble::Handle(const StripeRequest& request) {
  const std::lock_guard lock(impl_->mutex);
  Roll(impl_->account);
  return impl_->Handle(request);
}

void StripeDouble::Tick() {
  const std::lock_guard lock(impl_->mutex);
  Roll(impl_->account);
}

Task<> StripeDouble::Impl::Deliver(net::Client& client, Event& ready) {
  for (;;) {
    std::optional<Outgoing> next = Take();
    if (!next) {
      ready.Clear();
      PTG_CO_RUN(co_await ready.Wait(Deadline::Never()));
      continue;
    }
    int status = 0;
    if (const Result<net::Url> url = net::ParseUrl(next->url)) {
      net::RequestHead head;
      head.method = "POST";
      head.headers.Add("Content-Type", "application/json; charset=utf-8");
      head.headers.Add("Stripe-Signature", next->signature);
      head.headers.Add("User-Agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)");
      const Deadline by = Deadline::In(Loop::Current()->clock(), kDeliveryTimeout);
      const Result<net::Client::Whole> answer = co_await client.Fetch(
          *url, std::move(head), std::move(next->body), kMaxEndpointAnswer, by);
      if (answer) status = answer->head.status;
    }
    Done(std::move(next->delivery), status);
  }
}

Task<> StripeDouble::RunDeliveries() {
  net::Client client(*Loop::Current());
  Event ready;
  std::array<Fork, kLanes> lanes;
  for (Fork& lane : lanes) lane.Start(impl_->Deliver(client, ready));
  for (;;) {
    PTG_CO_RUN(co_await Sleep(kLook));
    Tick();
    if (impl_->Due()) ready.Set();
  }
}

}  // namespace pontage::sandbox
