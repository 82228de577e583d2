#include "sale.h"

#include <utility>

#include "base/try.h"

namespace pontage::sim {

Task<std::unique_ptr<net::ClientResponse>> Work::Run(const std::string& idempotency_key,
                                                     net::BodySource& body, Deadline by,
                                                     Deadline latest) {
  const bool fails = dice_.Chance(weather_.upstream_fails);
  const uint64_t how = dice_.Below(4);
  testing::FakeWork answer;
  answer.unreachable = fails && how == 0;
  answer.status = fails && how == 1 ? 500 : 200;
  answer.breaks_in_body = fails && how == 2;
  answer.body = "goods of " + std::to_string(payment_);
  if (!answer.unreachable) {
    Upstream::Count& count = upstream_.by_payment[payment_];
    // Until the answer's head, or until whoever asked is dead.
    struct Running {
      explicit Running(Upstream::Count& c) : count(c) { ++count.running; }
      ~Running() { --count.running; }
      Upstream::Count& count;
    };
    const Running running(count);
    count.most = std::max(count.most, count.running);
    const Millis longest(fails && how == 3 ? 8'000 : 400);
    PTG_CO_RUN(co_await Sleep(dice_.Between(Millis(1), longest)));
    if (answer.status < 400) ++count.runs;
    if (by.Passed(Loop::Current()->clock())) {
      co_return Fail(Code::kUpstreamTimeout, "the upstream is too slow");
    }
  }
  co_return co_await answer.Run(idempotency_key, body, by, latest);
}

bool Writer::client_gone() const {
  return request_.gone || (request_.breaks_after && request_.body.size() >= *request_.breaks_after);
}

Task<> Writer::Head(net::ResponseHead head, std::optional<uint64_t>) {
  request_.head = std::move(head);
  sent_ = true;
  co_return {};
}

Task<> Writer::Upgrade(net::ResponseHead head) {
  request_.head = std::move(head);
  sent_ = true;
  co_return {};
}

Task<> Writer::Write(std::string_view bytes, bool) {
  PTG_CO_RUN(co_await Sleep(dice_.Between(Millis(0), Millis(20))));
  if (client_gone()) co_return Fail(Code::kConnection, "the client went away");
  request_.body.append(bytes);
  if (client_gone()) co_return Fail(Code::kConnection, "the client went away");
  co_return {};
}

Task<> Writer::End(const net::Headers*) {
  PTG_CO_RUN(co_await Sleep(dice_.Between(Millis(0), Millis(20))));
  if (client_gone() || aborted_) co_return Fail(Code::kConnection, "the client went away");
  request_.whole = true;
  co_return {};
}

}  // namespace pontage::sim
