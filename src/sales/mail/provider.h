#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "io/task.h"
#include "sales/mail/message.h"

namespace pontage::mail {

// What became of handing a mail over.
enum class Outcome : uint8_t {
  kSent,
  kRetry,  // not now
  kPark,   // the provider's quota is used up: a long wait
  kDead,   // this mail is refused for good
  kAlarm,  // our account or configuration is at fault; a person must look
};
std::string_view NameOf(Outcome outcome);

struct Attempt {
  Outcome outcome = Outcome::kRetry;
  // kSent: what the provider calls it.
  std::string provider_id;
  // How long the provider wants to be left alone; zero: it does not say.
  Millis after{0};
  // It is certain that the provider does not have the mail. Only then may another one be asked for
  // it: of a mail that may be on its way, only the same provider with the same key knows.
  bool untaken = true;
  // kDead: the mailbox does not exist. Nobody writes there again.
  bool bounced = false;
  // For the log: our own words and the provider's name for the fault.
  std::string why;
  // For the operator alone: the provider's words, which may repeat what it was told. At most
  // kMaxSaid bytes.
  std::string said;
};
// More than a sentence or two is not for people.
inline constexpr size_t kMaxSaid = 300;
// What somebody said, as one line that the books can keep: cut off at kMaxSaid, UTF-8, without
// control characters.
std::string Said(std::string_view text);

// One who carries mails. Belongs to one loop.
class Provider {
 public:
  virtual ~Provider() = default;

  // "resend", "smtp": as written in the outbox, metrics and logs.
  virtual std::string_view name() const = 0;
  // Hands over one mail that Check lets through. Whatever happens is an Attempt; the task itself
  // does not fail.
  virtual Task<Attempt> Send(const Mail& mail, Deadline by) = 0;

  // How many mails SendTogether takes; 1: it is not for this provider.
  virtual size_t most_together() const { return 1; }
  struct Together {
    Attempt attempt;               // of all of them: all are taken, or none
    std::vector<std::string> ids;  // kSent: one for each mail, in their order
  };
  // Hands over several at once under one key. The same key must always come with the same mails in
  // the same order.
  virtual Task<Together> SendTogether(const std::vector<Mail>& mails, const std::string& key,
                                      Deadline by);
};

}  // namespace pontage::mail
