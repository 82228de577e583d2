#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "codec/json.h"
#include "crypto/hash.h"
#include "io/socket.h"
#include "net/server.h"
#include "sandbox/mailbox/smtp_session.h"

namespace pontage::sandbox {

// A batch of Resend is 100 mails of some ten kilobytes.
inline constexpr size_t kMaxMailboxBody = 4 << 20;

// A mail that came, by either way.
struct MailboxMail {
  std::string id;
  std::string via;  // "api" or "smtp"
  UnixMs at;
  std::string from;
  std::vector<std::string> to;
  std::string subject;
  std::string text;
  std::string html;
  std::string last_event = "delivered";  // or "bounced", "complained"
  std::string idempotency_key;
  std::string raw;  // smtp: as it came
};

// Somebody else's mail service, for people who want to try the card rail without one: what is sent
// goes nowhere and can be read. Speaks Resend's API and SMTP; faults are made to order. Everything
// is in memory and bounded: the oldest go. Safe to use from any thread.
class Mailbox {
 public:
  static constexpr size_t kMostMails = 1'000;
  static constexpr size_t kMostBytes = 64 << 20;
  static constexpr size_t kMostKeys = 10'000;
  // How long an Idempotency-Key is remembered, as at Resend.
  static constexpr Millis kKeyAge{86'400'000};

  // Both outlive it.
  explicit Mailbox(const Clock& clock, Rng& rng = Rng::System());

  // An answer over HTTP, after `wait`.
  struct Answer {
    int status = 200;
    std::string type = "application/json";
    std::string body;
    net::Headers headers;
    Millis wait{0};
  };
  // An event that somebody is to be told of.
  struct Notice {
    std::string url;
    net::Headers headers;
    std::string body;
  };
  // One request of HTTP: /emails, /emails/batch, /emails/:id, /, /mail/:id, /_test/….
  Answer Ask(const net::RequestHead& head, const std::string& body);
  // What SMTP decides about a recipient and a message.
  SmtpSession::Callbacks ForSmtp();
  // Events of bounces that have come up since it was last called.
  std::vector<Notice> TakeNotices();

  // Newest last.
  std::vector<MailboxMail> Mails() const;

 private:
  // POST /_test/fail_next and /_test/hang.
  struct Fault {
    int64_t count = 0;
    bool smtp = false;
    int64_t status = 0;   // 0: it only takes its time
    std::string name;     // in Resend's words
    bool accept = false;  // the mail is taken all the same
    int64_t retry_after = 0;
    Millis wait{0};
  };
  struct Remembered {
    crypto::Hash32 body{};
    std::string answer;
    UnixMs at;
    UnixMs ready;  // until then its first request is at work
  };

  // All below are called with mutex_ held.
  Answer AskApi(const net::RequestHead& head, std::string_view path, std::string_view query,
                const std::string& body);
  Answer Post(const net::RequestHead& head, std::string_view path, const std::string& body,
              Millis wait);
  Answer List(std::string_view query) const;
  Answer One(std::string_view id) const;
  Answer Page() const;
  Answer MailPage(std::string_view id) const;
  Answer Control(const net::RequestHead& head, std::string_view what, const std::string& body);
  Result<> Configure(std::string_view what, const codec::JsonReader& r);
  Result<> AddFault(const codec::JsonReader& r, bool hang);
  Result<> AddBounce(const codec::JsonReader& r);
  Result<> SetWebhook(const codec::JsonReader& r);
  Answer State() const;
  // False when the second is full; its headers go to `headers`.
  bool WithinRate(net::Headers& headers);
  // The next fault that was ordered for this way in; one of count 0 is none.
  Fault TakeFault(bool smtp);
  void Keep(MailboxMail mail);
  void Remember(const std::string& key, Remembered entry);
  std::string BounceOf(std::string_view address) const;
  void Tell(const MailboxMail& mail);
  const MailboxMail* Find(std::string_view id) const;
  SmtpReply TakeMessage(SmtpSession::Envelope envelope);
  std::string NewUuid();

  const Clock& clock_;
  Rng& rng_;
  mutable std::mutex mutex_;
  std::deque<MailboxMail> mails_;
  size_t bytes_ = 0;
  std::map<std::string, Remembered> keys_;
  std::deque<std::string> key_order_;
  std::deque<Fault> faults_;
  std::map<std::string, std::string> bounces_;  // address in lower case: kind
  std::string webhook_url_;
  std::string webhook_key_;
  std::deque<Notice> notices_;
  int64_t per_second_ = 0;  // 0: as many as one likes
  int64_t window_s_ = 0;
  int64_t in_window_ = 0;
  int64_t requests_ = 0;
};

// Serves the API, the pages and the knobs. The mailbox must outlive the handler.
net::Handler MailboxHandler(Mailbox& mailbox);
// Takes SMTP connections of `listener` on the current loop until it is closed. Both outlive the
// loop's tasks.
Task<> RunSmtp(Mailbox& mailbox, Listener& listener);

}  // namespace pontage::sandbox
