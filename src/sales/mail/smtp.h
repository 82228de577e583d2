#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "base/secret.h"
#include "io/timer.h"
#include "sales/mail/provider.h"

namespace pontage::mail {

struct SmtpOptions {
  std::string host;
  uint16_t port = 587;
  bool tls_first = false;  // from the first byte, as always on port 465; else STARTTLS
  std::string user;        // empty: without a login
  Secret password;
  std::string ca_file;  // PEM; empty: the authorities of the system
  // In clear, password and all, and only to this machine. TLS is used where it is offered.
  bool plain_on_loopback = true;
};

// How far a dialogue with a server came, as its end is judged by (RFC 5321).
struct SmtpDialogue {
  enum class Stage : uint8_t {
    kConnect,
    kGreeting,
    kTls,
    kLogin,
    kSender,
    kRecipient,
    kData,
    kBody
  };
  Stage stage = Stage::kConnect;  // what was said last
  int code = 0;                   // of the last reply; 0: there was none to what was said last
  std::string reply;              // its last line, at most kMaxSaid bytes
  enum class End : uint8_t {
    kDone,      // 250 to the whole message
    kReplied,   // ended over the reply
    kNoServer,  // no such name, no connection
    kNoTls,     // no TLS where it must be, or not with whom it should be
    kNoLogin,   // user or password are refused, or there is no way to tell them
    kBroken,    // time or connection ran out
  } end = End::kBroken;
};
// What the end means. Pure.
Attempt ReadSmtpDialogue(const SmtpDialogue& dialogue);

// Mails by SMTP, each over a connection of its own, by libcurl on a thread of its own: its calls
// block. TLS 1.2 or newer with a certificate for the host is required, but on loopback.
//
// SMTP has no idempotency: a mail whose reply got lost is sent again. Its Message-ID is the same.
class Smtp final : public Provider {
 public:
  // `clock` (for the Date of mails) outlives it. kConfig when there is no libcurl, or the host is
  // no name.
  static Result<std::unique_ptr<Smtp>> Make(SmtpOptions options, const Clock& clock);
  // Breaks off what is under way.
  ~Smtp() override;

  std::string_view name() const override { return "smtp"; }
  Task<Attempt> Send(const Mail& mail, Deadline by) override;

 private:
  struct Job {
    std::string sender;
    std::string recipient;
    std::string message;
    const Clock* clock;  // what `by` goes by
    Deadline by;
    Completion<Attempt> done;
  };
  Smtp(SmtpOptions options, const Clock& clock);
  void Work();
  Attempt Talk(const Job& job);
  // The exchange with the server, in at most `time`.
  Attempt Exchange(const Job& job, Millis time);

  // One is sent at a time: those further behind would wait in vain.
  static constexpr size_t kMaxQueue = 32;
  static constexpr Millis kConnectTimeout{5'000};

  SmtpOptions options_;
  const Clock& clock_;
  std::string url_;  // without the name that we say in EHLO
  bool loopback_ = false;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> jobs_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

// "localhost", "127.…" and "::1".
bool IsLoopback(std::string_view host);

}  // namespace pontage::mail
