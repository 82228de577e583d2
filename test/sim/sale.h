#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "dice.h"
#include "io/timer.h"
#include "net/server.h"
#include "paywall/work.h"
#include "testing/fake_sale.h"

namespace pontage::sim {

// One request of a buyer, from his side.
struct Request {
  size_t payment = 0;  // index in the world
  size_t route = 0;
  std::string resource;
  std::string header;  // PAYMENT-SIGNATURE or X-PAYMENT
  std::string value;
  std::optional<size_t> breaks_after;  // bytes of body
  bool gone = false;                   // the buyer waits no longer
  // What he saw.
  net::ResponseHead head;
  std::string body;
  bool whole = false;
  bool over = false;  // nothing more will come: answered, broken off, or the node died
  Event done;         // on the world's loop
};

// The seller's upstream: counts, by payment, what it was asked and what it did.
struct Upstream {
  struct Count {
    int runs = 0;     // that answered below 400
    int running = 0;  // now
    int most = 0;     // at once
  };
  std::map<size_t, Count> by_payment;
};

class Work final : public paywall::Work {
 public:
  Work(Upstream& upstream, size_t payment, Dice& dice, const Weather& weather)
      : upstream_(upstream), payment_(payment), dice_(dice), weather_(weather) {}
  Task<std::unique_ptr<net::ClientResponse>> Run(const std::string& idempotency_key,
                                                 net::BodySource& body, Deadline by,
                                                 Deadline latest) override;

 private:
  Upstream& upstream_;
  size_t payment_;
  Dice& dice_;
  const Weather& weather_;
};

// The buyer's end of the connection.
class Writer final : public net::ResponseWriter {
 public:
  Writer(Request& request, Dice& dice) : request_(request), dice_(dice) {}
  Task<> Interim(const net::ResponseHead&) override { co_return {}; }
  Task<> Head(net::ResponseHead head, std::optional<uint64_t> body_size) override;
  Task<> Write(std::string_view bytes, bool flush) override;
  Task<> End(const net::Headers* trailers) override;
  Task<> Upgrade(net::ResponseHead head) override;
  bool head_sent() const override { return sent_; }
  void Abort() override { aborted_ = true; }
  bool client_gone() const override;

 private:
  Request& request_;
  Dice& dice_;
  bool sent_ = false;
  bool aborted_ = false;
};

}  // namespace pontage::sim
