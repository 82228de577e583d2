#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "catalog/path.h"
#include "gateway/forwarding.h"
#include "gateway/gateway.h"
#include "paywall/work.h"

// /forward-auth: another proxy asks whether a request may pass. The decisions are pure; what is
// done with them is Gateway::AnswerForwardAuth.
namespace pontage::gateway {

inline constexpr std::string_view kForwardAuthPath = "/forward-auth";

// The request that a proxy asks about.
struct Question {
  // Empty when the proxy did not say it: then it may be any.
  std::string method;
  catalog::Target target;
};

// Whether the request line itself asks for /forward-auth or something below it; `target` is
// `raw_target` read. The raw text counts too: what climbs out of the prefix is a question with a
// bad path, and no request for something else.
bool AsksForwardAuth(std::string_view raw_target, const catalog::Target& target);

// Whether `deny=403` is among the parameters; takes it out of `raw_target`. kBadRequest for another
// value where no path stands behind ours: else the query is the buyer's.
Result<bool> TakeDeny(std::string& raw_target);

// The question of `head`, whose target is `raw_target` without our own parameter. What stands
// behind /forward-auth in the path is the original target, and the method then the request's own.
// A trusted peer may name both instead, as X-Original-URI (or -URL) and X-Original-Method, or as
// X-Forwarded-Uri and X-Forwarded-Method. Whatever is named more than once must be the same each
// time: most proxies pass on fields that they do not know, so a client may have added the other
// pair. kBadRequest: nothing was named, two things were, or it is no path that all servers read the
// same way (dot segments, empty segments, backslashes, fragments). Pure.
Result<Question> ReadQuestion(const net::RequestHead& head, std::string_view raw_target,
                              const TrustedProxies& trusted);

// The route of a question; of several methods and of the two readings of an escaped slash the
// dearest, for the one that is asked about may be any of them. Nothing: no route takes it.
std::optional<size_t> RouteOfQuestion(const Site& site, const Question& question);

// The route of a request; of the two readings of an escaped slash the dearer one.
std::optional<size_t> RouteOf(const Site& site, std::string_view method,
                              const catalog::Target& target);

// What is sold to the proxy: "it may pass", an empty 200. (Envoy takes nothing else for a yes.)
class PassWork final : public paywall::Work {
 public:
  Task<std::unique_ptr<net::ClientResponse>> Run(const std::string& idempotency_key,
                                                 net::BodySource& body, Deadline by,
                                                 Deadline latest) override;
};

}  // namespace pontage::gateway
