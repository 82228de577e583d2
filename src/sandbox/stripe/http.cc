#include <utility>

#include "base/try.h"
#include "io/timer.h"
#include "sandbox/stripe/double.h"

namespace pontage::sandbox {
namespace {

// The official client gives up after 80 seconds.
constexpr Millis kHang{120'000};

std::string HeaderOf(const net::RequestHead& head, std::string_view name) {
  return std::string(head.headers.Get(name).value_or(""));
}

Task<> Answer(StripeDouble& stripe, net::RequestHead& head, net::BodySource& body,
              net::ResponseWriter& out, const Clock& clock) {
  const Deadline by = Deadline::In(clock, 30s);  // A local client sends half a MiB in a moment.
  Result<std::string> text = co_await net::ReadAll(body, kMaxStripeBody, by);
  if (!text) co_return Fail(text.error());
  StripeRequest request;
  request.method = head.method;
  request.target = head.target;
  request.body = *std::move(text);
  request.content_type = HeaderOf(head, "Content-Type");
  request.authorization = HeaderOf(head, "Authorization");
  request.version = HeaderOf(head, "Stripe-Version");
  request.idempotency_key = HeaderOf(head, "Idempotency-Key");
  StripeAnswer answer = stripe.Handle(request);
  if (answer.delivery == StripeAnswer::Delivery::kHang) PTG_CO_RUN(co_await Sleep(kHang));
  if (answer.delivery != StripeAnswer::Delivery::kWhole) {
    out.Abort();
    co_return {};
  }
  net::ResponseHead ours;
  ours.status = answer.status;
  ours.headers.Add("Content-Type", answer.content_type);
  for (const auto& [name, value] : answer.headers) ours.headers.Add(name, value);
  PTG_CO_RUN(co_await out.Head(std::move(ours), answer.body.size()));
  PTG_CO_RUN(co_await out.Write(answer.body));
  co_return co_await out.End();
}

}  // namespace

net::Handler StripeHandler(StripeDouble& stripe) {
  return [&stripe](net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out) {
    return Answer(stripe, head, body, out, Loop::Current()->clock());
  };
}

}  // namespace pontage::sandbox
