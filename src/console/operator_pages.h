#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "console/keys.h"
#include "console/page.h"
#include "console/queries.h"
#include "console/session.h"
#include "console/verbs.h"
#include "net/message.h"
#include "net/server.h"
#include "web/answer.h"

namespace pontage::console {

// The operator's pages: /admin and what is below it, but for /admin/v1. HTML that works without
// script. What there is stands in one table (Routes, below) with the scope that it needs; whoever
// is not logged in is led to /admin/login and back. A form is believed when it carries its
// session's token and the browser does not say that another site has sent it. Safe to use from
// every loop.
class OperatorPages {
 public:
  struct Parts {
    OperatorKeys& keys;
    Queries& queries;
    Verbs& verbs;
    Sessions& sessions;
    const Clock& clock;
    Rng& rng;
    // Whom wrong keys are counted against: an address, or what stands for several of one owner.
    std::function<std::string(const net::RequestHead&)> client_of;
    std::vector<std::string> plans;  // that a license can be issued for
  };
  explicit OperatorPages(Parts parts) : parts_(std::move(parts)) {}

  bool Serves(std::string_view target) const;
  // A net::Handler for what it serves.
  Task<> Handle(net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out);

  // One page or form as its function gets it.
  struct Call {
    Viewer viewer;
    std::string session;
    std::string id;     // what stands for {id} in the path
    web::Fields query;  // of a form: what it says
    Who who;
    Deadline by = Deadline::Never();
  };
  using Act = Task<web::Answer> (OperatorPages::*)(Call call);
  struct Route {
    std::string_view method;
    std::string_view path;  // "/admin/licenses/{id}/revoke"
    Scope scope;
    Act act;
  };
  static std::span<const Route> Routes();

  static constexpr size_t kMaxBody = web::Fields::kMaxBody;

 private:
  Task<web::Answer> Decide(const net::RequestHead& head, net::BodySource& body,
                           std::string request_id);
  Task<web::Answer> Login(const net::RequestHead& head, std::string_view body, Deadline by);
  // Whose cookie it is, as long as his key is one of ours.
  Task<std::optional<Session>> WhoIs(const net::RequestHead& head, Deadline by);
  Viewer ViewerOf(const Session& session) const;

  Task<web::Answer> Home(Call call);
  Task<web::Answer> Customers(Call call);
  Task<web::Answer> Customer(Call call);
  Task<web::Answer> License(Call call);
  Task<web::Answer> Payments(Call call);
  Task<web::Answer> Payment(Call call);
  Task<web::Answer> Events(Call call);
  Task<web::Answer> Event(Call call);
  Task<web::Answer> Outbox(Call call);
  Task<web::Answer> Commands(Call call);
  Task<web::Answer> Command(Call call);
  Task<web::Answer> Drift(Call call);
  Task<web::Answer> Audit(Call call);
  Task<web::Answer> AskIssue(Call call);
  Task<web::Answer> Issue(Call call);
  Task<web::Answer> Extend(Call call);
  Task<web::Answer> Reissue(Call call);
  Task<web::Answer> Revoke(Call call);
  Task<web::Answer> Refund(Call call);
  Task<web::Answer> Rerun(Call call);
  Task<web::Answer> Retry(Call call);
  Task<web::Answer> Logout(Call call);

  Parts parts_;
};

// "29", "29.00", "$29.00" of a currency with two decimals: 2900. kBadRequest for what is no amount
// above zero.
Result<int64_t> ParseAmount(std::string_view text, std::string_view currency);

// Where what was typed into the search box is found by itself, without asking for customers:
// payments, events, orders, and payers on a chain. Empty: it has to be asked for.
std::string PlaceOf(std::string_view search);

}  // namespace pontage::console
