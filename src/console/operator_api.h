#pragma once

#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "console/keys.h"
#include "console/queries.h"
#include "console/verbs.h"
#include "net/message.h"
#include "net/server.h"
#include "web/answer.h"

namespace pontage::console {

// The operator's API: JSON under /admin/v1, with X-Admin-Key. What there is stands in one table
// (Routes, below) with the scope that each needs; anything else is 404, and a call without a row
// can not be served. Every call that changes something wants an Idempotency-Key. Safe to use from
// every loop.
class OperatorApi {
 public:
  struct Parts {
    OperatorKeys& keys;
    Queries& queries;
    Verbs& verbs;
    const Clock& clock;
    Rng& rng;
    // Whose tries are counted; empty: the peer's.
    std::function<std::string(const net::RequestHead& head)> client_of = {};
  };
  explicit OperatorApi(Parts parts) : parts_(std::move(parts)) {}

  bool Serves(std::string_view target) const;
  // A net::Handler for what it serves.
  Task<> Handle(net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out);

  // One call as its function gets it.
  struct Call {
    Caller caller;
    std::string id;  // what stands for {id} in the path
    web::Fields query;
    codec::Json body;  // an object, of calls that have one
    std::string idempotency_key;
    std::string request_id;
    Deadline by = Deadline::Never();

    // Every call begins with one of these two: names the members that it knows, and fails with the
    // pointer of the first that it does not.
    Result<> Knows(std::initializer_list<std::string_view> names) const;
    // Of a list: and limit and cursor.
    Result<PageAsk> Page(std::initializer_list<std::string_view> names) const;
    std::string Query(std::string_view name) const { return std::string(query.Get(name)); }
    // Of the body, by kind; what is absent or null is the fallback.
    Result<std::string> Text(std::string_view name) const;
    Result<int64_t> Int(std::string_view name) const;
    Result<bool> Bool(std::string_view name, bool fallback) const;
    Who who() const {
      return {.actor = caller.name, .request_id = request_id, .idempotency_key = idempotency_key};
    }
  };
  using Act = Task<web::Answer> (OperatorApi::*)(Call call);
  struct Route {
    std::string_view method;
    std::string_view path;  // "/admin/v1/licenses/{id}/revoke"
    Scope scope;
    Act act;
  };
  static std::span<const Route> Routes();

  static constexpr std::string_view kRoot = "/admin/v1";
  static constexpr size_t kMaxBody = 16 << 10;

 private:
  Task<web::Answer> Decide(const net::RequestHead& head, net::BodySource& body,
                           std::string request_id);

  Task<web::Answer> Look(Call call);
  Task<web::Answer> Customers(Call call);
  Task<web::Answer> Customer(Call call);
  Task<web::Answer> Licenses(Call call);
  Task<web::Answer> License(Call call);
  Task<web::Answer> Refunds(Call call);
  Task<web::Answer> Payments(Call call);
  Task<web::Answer> Payment(Call call);
  Task<web::Answer> Events(Call call);
  Task<web::Answer> Event(Call call);
  Task<web::Answer> Outbox(Call call);
  Task<web::Answer> Drift(Call call);
  Task<web::Answer> Audit(Call call);
  Task<web::Answer> Commands(Call call);
  Task<web::Answer> Command(Call call);
  Task<web::Answer> Issue(Call call);
  Task<web::Answer> Revoke(Call call);
  Task<web::Answer> Reissue(Call call);
  Task<web::Answer> Extend(Call call);
  Task<web::Answer> Refund(Call call);
  Task<web::Answer> Rerun(Call call);
  Task<web::Answer> Retry(Call call);

  Parts parts_;
};

}  // namespace pontage::console
