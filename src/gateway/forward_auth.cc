#include "gateway/forward_auth.h"

#include <utility>

#include "base/try.h"
#include "net/http1.h"

namespace pontage::gateway {
namespace {

using net::EqualsNoCase;

constexpr std::string_view kDeny = "deny";

Error Bad(std::string detail) {
  return Error(Code::kBadRequest, std::move(detail))
      .Want(
          "the original request, once: behind /forward-auth in the path, or from a trusted proxy "
          "as X-Original-URI and X-Original-Method or X-Forwarded-Uri and X-Forwarded-Method");
}

bool BeginsPath(std::string_view path, std::string_view prefix) {
  if (!path.starts_with(prefix)) return false;
  const std::string_view rest = path.substr(prefix.size());
  return rest.empty() || rest.front() == '/' || rest.front() == '?' || rest.front() == '#' ||
         rest.front() == '\\' || rest.front() == ';';
}

// "https://host/path?x" or "/path?x" to the latter.
std::string_view OriginForm(std::string_view uri) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!EqualsNoCase(uri.substr(0, scheme.size()), scheme)) continue;
    uri.remove_prefix(scheme.size());
    const size_t path = uri.find_first_of("/?#\\");
    if (path == uri.npos) return "/";
    return uri[path] == '/' ? uri.substr(path) : std::string_view();
  }
  return uri;
}

// The proxy sends on what the client wrote and not what we made of it, and servers differ about dot
// segments, empty ones and backslashes: "/paid/x/../../free/y" is the free one to some and the paid
// one to others. So only a path that there is one way to read is judged.
bool HasOneReading(std::string_view uri, const catalog::Target& target) {
  if (uri.find('\\') != uri.npos) return false;
  return catalog::Decoded(uri.substr(0, uri.find('?'))) == catalog::Decoded(target.forward);
}

// The one value of a field; nothing when it is absent.
Result<std::optional<std::string>> One(const net::Headers& headers, std::string_view name) {
  const size_t count = headers.Count(name);
  if (count == 0) return std::nullopt;
  if (count > 1) return Fail(Bad(std::string(name) + " stands there more than once"));
  return std::string(*headers.Get(name));
}

// What was said so far, and that nobody says otherwise.
class Collected {
 public:
  Result<> Target(std::string_view uri) {
    if (!net::http1::IsTargetText(uri)) {
      return Fail(Bad("the original path has characters that must be escaped"));
    }
    uri = OriginForm(uri);
    PTG_TRY(catalog::Target target, catalog::Canonicalize(uri));
    if (!HasOneReading(uri, target)) {
      return Fail(Error(Code::kBadRequest, "the path can be read in more than one way")
                      .At("/path")
                      .Want(target.forward));
    }
    if (!target_) {
      target_ = std::move(target);
      return {};
    }
    const bool same = target_->key == target.key && target_->other_keys == target.other_keys &&
                      target_->query == target.query;
    if (!same) return Fail(Bad("the original path is named twice, and not the same"));
    return {};
  }
  Result<> Method(std::string method) {
    if (!net::http1::IsToken(method) || net::http1::IsMiscasedMethod(method)) {
      return Fail(Bad("the original method is none"));
    }
    if (!method_.empty() && method_ != method) {
      return Fail(Bad("the original method is named twice, and not the same"));
    }
    method_ = std::move(method);
    return {};
  }
  bool has_target() const { return target_.has_value(); }
  Result<Question> Done() && {
    if (!target_) return Fail(Bad("the original request is not named"));
    return Question{.method = std::move(method_), .target = *std::move(target_)};
  }

 private:
  std::optional<catalog::Target> target_;
  std::string method_;
};

// A method without a path belongs to the path that was named elsewhere, or contradicts it.
Result<> CollectPair(const net::Headers& headers, std::string_view uri_name,
                     std::string_view method_name, Collected& to) {
  PTG_TRY(const std::optional<std::string> uri, One(headers, uri_name));
  if (uri) PTG_RUN(to.Target(*uri));
  PTG_TRY(std::optional<std::string> method, One(headers, method_name));
  if (method && !method->empty()) PTG_RUN(to.Method(*std::move(method)));
  return {};
}

class Pass final : public net::ClientResponse {
 public:
  Pass() {
    head_.status = 200;
    head_.reason = "OK";
    // The answer is about one request; a proxy that kept it would wave others through.
    head_.headers.Add("Cache-Control", "no-store");
  }
  net::ResponseHead& head() override { return head_; }
  net::BodySource& body() override { return body_; }
  Task<> WriteRaw(std::string_view, Deadline) override {
    co_return Fail(Code::kInternal, "an answer to a proxy switches no protocol");
  }
  void EndRaw() override {}

 private:
  net::ResponseHead head_;
  net::StringBody body_{""};
};

}  // namespace

bool AsksForwardAuth(std::string_view raw_target, const catalog::Target& target) {
  return BeginsPath(raw_target, kForwardAuthPath) || BeginsPath(target.key, kForwardAuthPath);
}

Result<bool> TakeDeny(std::string& raw_target) {
  const size_t mark = raw_target.find('?');
  if (mark == raw_target.npos) return false;
  // Behind a path it is the buyer's query, in which the word may mean something else.
  const bool of_another = mark > kForwardAuthPath.size();
  bool deny = false;
  std::string kept;
  std::string_view rest = std::string_view(raw_target).substr(mark + 1);
  while (true) {
    const std::string_view one = rest.substr(0, rest.find('&'));
    const bool ours = of_another ? one == "deny=403" : one.substr(0, one.find('=')) == kDeny;
    if (ours && one != "deny=403") {
      return Fail(Error(Code::kBadRequest, "deny is not 403").At("/query/deny").Want("deny=403"));
    }
    deny = deny || ours;
    if (!ours) kept.append(kept.empty() ? "?" : "&").append(one);
    if (one.size() == rest.size()) break;
    rest.remove_prefix(one.size() + 1);
  }
  raw_target.resize(mark);
  raw_target += kept == "?" ? "" : kept;
  return deny;
}

Result<Question> ReadQuestion(const net::RequestHead& head, std::string_view raw_target,
                              const TrustedProxies& trusted) {
  Collected collected;
  std::string rest;
  if (BeginsPath(raw_target, kForwardAuthPath)) {
    rest = raw_target.substr(kForwardAuthPath.size());
  } else {
    PTG_TRY(const catalog::Target outer, catalog::Canonicalize(raw_target));
    rest = outer.forward.substr(outer.forward.find('/', 1) == std::string::npos
                                    ? outer.forward.size()
                                    : outer.forward.find('/', 1)) +
           outer.query;
  }
  // "/forward-auth?x=1" names no path; "/forward-auth/" names the root.
  if (!rest.empty() && rest.front() != '?' && rest.front() != '#') {
    PTG_RUN(collected.Target(rest));
    PTG_RUN(collected.Method(head.method));
  }
  if (trusted.Trusts(head.peer_address)) {
    PTG_RUN(CollectPair(head.headers, "X-Original-URI", "X-Original-Method", collected));
    PTG_RUN(CollectPair(head.headers, "X-Original-URL", "X-Original-Method", collected));
    PTG_RUN(CollectPair(head.headers, "X-Forwarded-Uri", "X-Forwarded-Method", collected));
  } else if (!collected.has_target()) {
    return Fail(Bad("the original request is not named: " + head.peer_address +
                    " is not among trusted_proxies"));
  }
  return std::move(collected).Done();
}

namespace {

bool Dearer(const catalog::Route& a, const catalog::Route& b) {
  return !a.free && (b.free || b.price < a.price);
}

}  // namespace

std::optional<size_t> RouteOf(const Site& site, std::string_view method,
                              const catalog::Target& target) {
  std::optional<size_t> dearest = site.table.Match(method, target.key);
  if (!dearest) return dearest;
  for (const std::string& key : target.other_keys) {
    const std::optional<size_t> other = site.table.Match(method, key);
    if (other && Dearer(site.routes[*other], site.routes[*dearest])) dearest = other;
  }
  return dearest;
}

std::optional<size_t> RouteOfQuestion(const Site& site, const Question& question) {
  if (!question.method.empty()) return RouteOf(site, question.method, question.target);
  // No route names the method "*", so this finds those that name none.
  std::optional<size_t> dearest = RouteOf(site, "*", question.target);
  std::vector<std::string_view> keys{question.target.key};
  keys.insert(keys.end(), question.target.other_keys.begin(), question.target.other_keys.end());
  for (const std::string_view key : keys) {
    for (const std::string& method : site.table.MethodsOf(key)) {
      const std::optional<size_t> one = RouteOf(site, method, question.target);
      if (!one) continue;
      if (!dearest || Dearer(site.routes[*one], site.routes[*dearest])) dearest = one;
    }
  }
  return dearest;
}

Task<std::unique_ptr<net::ClientResponse>> PassWork::Run(const std::string&, net::BodySource&,
                                                         Deadline, Deadline) {
  co_return std::unique_ptr<net::ClientResponse>(std::make_unique<Pass>());
}

}  // namespace pontage::gateway
