#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/try.h"
#include "codec/json.h"
#include "io/timer.h"
#include "net/server.h"
#include "sales/stripe_client.h"

namespace pontage::testing {

// Stripe's API as far as a client can tell: pages of lists, objects, and posts that happen once for
// each Idempotency-Key. It fails as it is told to, request by request, and then works again.
class StripePeer {
 public:
  struct Call {
    std::string method;
    std::string target;
    std::string body;
    std::string key;
    std::string version;
    std::string authorization;
    std::string content_type;
  };
  struct Fault {
    int status = 0;  // answered instead of the work; 0: the work is done
    std::string body = R"({"error":{"type":"api_error","message":"told to"}})";
    std::vector<std::pair<std::string, std::string>> headers = {};
    bool hang_up = false;     // nothing is done, nothing answered
    bool lose_reply = false;  // it is done, and the answer is lost
    bool silent = false;      // for a minute
    Millis late{0};           // before anything of the above
  };

  explicit StripePeer(Loop& loop)
      : server_(loop, {},
                [this](net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out) {
                  return Serve(head, body, out);
                }) {
    PTG_CHECK(server_.Listen("127.0.0.1:0").has_value());
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(server_.port()); }

  std::deque<Fault> faults;                               // of the next requests, one each
  std::map<std::string, codec::Json> objects;             // by path
  std::map<std::string, std::vector<codec::Json>> lists;  // by path, newest first
  std::vector<Call> calls;
  size_t made = 0;  // by posts; each is {"id":"made_<n>","object":<kind>}
  std::string kind = "thing";
  // Of keys, as Stripe does after a day.
  void Forget() { done_.clear(); }

 private:
  struct Answer {
    int status = 200;
    std::string body;
  };
  struct Done {
    std::string params;
    Answer answer;
  };

  static std::string Parameter(std::string_view query, std::string_view name) {
    const std::string key = std::string(name) + "=";
    const size_t at = ("&" + std::string(query)).find("&" + key);
    if (at == std::string::npos) return {};
    const std::string_view rest = query.substr(at + key.size());
    return std::string(rest.substr(0, rest.find('&')));
  }
  static Answer Missing() {
    return {404, R"({"error":{"type":"invalid_request_error","code":"resource_missing",)"
                 R"("message":"No such thing","param":"id"}})"};
  }
  static std::string IdOf(const codec::Json& json) {
    const codec::Json* id = json.Find("id");
    return id == nullptr ? std::string() : *id->AsString();
  }

  static Answer Page(const std::vector<codec::Json>& all, std::string_view query) {
    const std::string after = Parameter(query, "starting_after");
    const std::string limit = Parameter(query, "limit");
    const size_t most =
        limit.empty() ? 10 : static_cast<size_t>(*codec::ParseJson(limit)->AsInt64());
    size_t from = 0;
    while (!after.empty() && from < all.size() && IdOf(all[from]) != after) ++from;
    if (!after.empty()) ++from;
    const std::string before = Parameter(query, "ending_before");
    if (!before.empty()) {
      size_t end = 0;
      while (end < all.size() && IdOf(all[end]) != before) ++end;
      from = end - std::min(end, most);
      codec::Json newer = codec::Json::Array();
      for (size_t i = from; i < end; ++i) newer.Push(all[i]);
      const codec::Json page = codec::Json::Object(
          {{"object", "list"}, {"data", std::move(newer)}, {"has_more", from > 0}});
      return {200, codec::ToString(page)};
    }
    codec::Json data = codec::Json::Array();
    size_t i = from;
    for (; i < all.size() && i < from + most; ++i) data.Push(all[i]);
    const codec::Json list = codec::Json::Object(
        {{"object", "list"}, {"data", std::move(data)}, {"has_more", i < all.size()}});
    return {200, codec::ToString(list)};
  }

  Answer Post(const Call& call) {
    const auto before = done_.find(call.key);
    if (before != done_.end()) {
      if (before->second.params == call.target + call.body) return before->second.answer;
      return {400, R"({"error":{"type":"idempotency_error","message":"other parameters"}})"};
    }
    ++made;
    const Answer answer{
        200, R"({"id":"made_)" + std::to_string(made) + R"(","object":")" + kind + "\"}"};
    done_[call.key] = {call.target + call.body, answer};
    return answer;
  }

  Answer Work(const Call& call) {
    if (call.method == "POST") return Post(call);
    const size_t mark = call.target.find('?');
    const std::string path = call.target.substr(0, mark);
    const std::string query = mark == std::string::npos ? "" : call.target.substr(mark + 1);
    if (const auto list = lists.find(path); list != lists.end()) return Page(list->second, query);
    const auto object = objects.find(path);
    if (object == objects.end()) return Missing();
    const Answer answer{200, codec::ToString(object->second)};
    return answer;
  }

  Task<> Serve(net::RequestHead& head, net::BodySource& body, net::ResponseWriter& out) {
    const Deadline by = Deadline::In(Clock::System(), Millis(2'000));
    PTG_CO_TRY(std::string bytes, co_await net::ReadAll(body, 1 << 20, by));
    const auto header = [&head](std::string_view name) {
      return std::string(head.headers.Get(name).value_or(""));
    };
    const Call call{head.method,
                    head.target,
                    std::move(bytes),
                    header("idempotency-key"),
                    header("stripe-version"),
                    header("authorization"),
                    header("content-type")};
    calls.push_back(call);
    Fault fault;
    if (!faults.empty()) {
      fault = std::move(faults.front());
      faults.pop_front();
    }
    if (fault.late > Millis(0)) PTG_CO_RUN(co_await Sleep(fault.late));
    if (fault.silent) co_return co_await Sleep(Millis(60'000));
    if (fault.hang_up) {
      out.Abort();
      co_return {};
    }
    const Answer answer = fault.status != 0 ? Answer{fault.status, fault.body} : Work(call);
    if (fault.lose_reply) {
      out.Abort();
      co_return {};
    }
    net::ResponseHead reply;
    reply.status = answer.status;
    reply.headers.Add("Request-Id", "req_" + std::to_string(calls.size()));
    for (const auto& [name, value] : fault.headers) reply.headers.Add(name, value);
    PTG_CO_RUN(co_await out.Head(std::move(reply), answer.body.size()));
    PTG_CO_RUN(co_await out.Write(answer.body));
    co_return co_await out.End();
  }

  net::Server server_;
  std::map<std::string, Done> done_;
};

// Of a client that asks it as fast as it can, and tries again at once.
inline sales::StripeOptions OptionsFor(const StripePeer& peer, std::string_view key = "sk_test_1") {
  sales::StripeOptions options;
  options.api_base = peer.url();
  options.api_key = Secret(std::string(key));
  options.first_pause = Millis(1);
  options.longest_pause = Millis(2);
  options.per_second = 1'000'000;
  options.at_once = 1'000;
  return options;
}

}  // namespace pontage::testing
