#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/secret.h"
#include "net/client.h"
#include "net/loop_clients.h"
#include "sales/mail/provider.h"

namespace pontage::mail {

// How fast Resend may be asked: a few calls a second for a whole team, as its answers say. Calls
// are spread by it, and whoever was told to wait waits.
class Pace {
 public:
  // How long to wait before a call may leave; its place is taken with this.
  Millis Take(SteadyMs now);
  // What an answer says: ratelimit-limit, -remaining, -reset (seconds) and retry-after of a 429.
  void Heard(int status, const net::Headers& headers, SteadyMs now);

 private:
  static constexpr Millis kWindow{1'000};
  // Until an answer says more; the lower of the two figures that Resend's pages name.
  int64_t limit_ = 2;
  int64_t left_ = 0;
  SteadyMs window_end_;
  SteadyMs closed_until_;
};

// "30" in seconds, whole or with a fraction, as Retry-After and ratelimit-reset have it, at most
// `most`; nothing when it is no such number.
std::optional<Millis> SecondsOf(std::string_view text, Millis most);

// What an answer to POST /emails or /emails/batch means; `ids` of a success in their order, each
// of them checked for being a name and nothing else.
struct ResendAnswer {
  Attempt attempt;
  std::vector<std::string> ids;
};
ResendAnswer ReadResendAnswer(int status, const net::Headers& headers, std::string_view body);

struct ResendOptions {
  std::string api_base = "https://api.resend.com";
  Secret api_key;
  std::string version;  // of ours, for User-Agent: without one Resend answers 403
};

// Resend's API. Idempotency-Key is the mail's dedup_key: within 24 hours the same mail is taken
// once, however often it is sent.
class Resend final : public Provider {
 public:
  // kConfig when api_base is no URL.
  static Result<std::unique_ptr<Resend>> Make(ResendOptions options);

  std::string_view name() const override { return "resend"; }
  Task<Attempt> Send(const Mail& mail, Deadline by) override;
  size_t most_together() const override { return kMostTogether; }
  Task<Together> SendTogether(const std::vector<Mail>& mails, const std::string& key,
                              Deadline by) override;

  // What /emails/batch takes.
  static constexpr size_t kMostTogether = 100;

 private:
  Resend(net::Url url, ResendOptions options)
      : url_(std::move(url)), options_(std::move(options)) {}
  Task<ResendAnswer> Post(std::string_view path, std::string body, const std::string& key,
                          Deadline by);

  // A hundred ids and some words.
  static constexpr size_t kMaxAnswer = 64 << 10;

  net::Url url_;
  ResendOptions options_;
  net::LoopClients clients_;
  Pace pace_;
};

}  // namespace pontage::mail
