#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/time.h"

namespace pontage::sandbox {

// What a server decides about a step of SMTP: "250 2.0.0 Ok", after `wait`.
struct SmtpReply {
  std::string line;
  Millis wait{0};
};

// The server's side of one SMTP connection (RFC 5321), without sockets: bytes in, replies out. Any
// user and password are good. Bounded: nobody who talks to it can make it hold more than one
// message.
class SmtpSession {
 public:
  struct Envelope {
    std::string sender;
    std::vector<std::string> recipients;
    std::string message;  // dots unstuffed, lines as they came
  };
  // What is decided elsewhere.
  struct Callbacks {
    // Nothing: the recipient is welcome.
    std::function<std::optional<SmtpReply>(const std::string& recipient)> recipient;
    std::function<SmtpReply(Envelope)> message;
  };
  // A command is at most 512 bytes (§4.5.3.1.4), a login up to 12 KiB; ours never are.
  static constexpr size_t kMaxLine = 4'096;
  // Announced as SIZE.
  static constexpr size_t kMaxMessage = 1 << 20;
  static constexpr size_t kMaxRecipients = 100;

  explicit SmtpSession(Callbacks callbacks) : callbacks_(std::move(callbacks)) {}

  static std::string Greeting() { return "220 localhost Pontage mailbox\r\n"; }
  // What came in.
  void Feed(std::string_view bytes);
  // What is to be said now, and how long to wait before.
  struct Out {
    std::string text;
    Millis wait{0};
  };
  Out Take();
  // After QUIT, or when the client does not speak SMTP.
  bool done() const { return done_; }

 private:
  enum class State : uint8_t { kCommands, kLoginPlain, kLoginUser, kLoginPassword, kData };
  void Command(std::string_view line);
  void DataLine(std::string_view line);
  void Mail(std::string_view argument);
  void Recipient(std::string_view argument);
  void Login(std::string_view argument);
  void EndOfData();
  void Reset();
  void Say(std::string_view line);

  Callbacks callbacks_;
  State state_ = State::kCommands;
  std::string input_;
  Out out_;
  bool greeted_ = false;
  bool has_sender_ = false;
  bool too_large_ = false;
  bool done_ = false;
  Envelope envelope_;
};

}  // namespace pontage::sandbox
