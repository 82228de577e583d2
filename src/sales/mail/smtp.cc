#include "sales/mail/smtp.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/thread_name.h"
#include "base/try.h"
#include "sales/mail/curl.h"

namespace pontage::mail {
namespace {

using Stage = SmtpDialogue::Stage;
using End = SmtpDialogue::End;

// What libcurl's callbacks share.
struct Talking {
  std::string_view message;
  size_t at = 0;
  SmtpDialogue dialogue;
  bool over = false;  // QUIT was said: what is replied to it decides nothing
  const std::atomic<bool>* stopping = nullptr;
};

size_t GiveMessage(char* into, size_t size, size_t count, void* told) {
  Talking& talking = *static_cast<Talking*>(told);
  const std::string_view rest = talking.message.substr(talking.at);
  const size_t give = std::min(rest.size(), size * count);
  std::copy_n(rest.begin(), give, into);
  talking.at += give;
  // The dot that ends it leaves after this: from now on the server may have it.
  if (give == 0) {
    talking.dialogue.stage = Stage::kBody;
    talking.dialogue.code = 0;
  }
  return give;
}

std::optional<Stage> StageOf(std::string_view command) {
  const std::pair<std::string_view, Stage> kCommands[] = {
      {"EHLO", Stage::kGreeting}, {"HELO", Stage::kGreeting}, {"STARTTLS", Stage::kTls},
      {"AUTH", Stage::kLogin},    {"MAIL", Stage::kSender},   {"RCPT", Stage::kRecipient},
      {"DATA", Stage::kData}};
  for (const auto& [word, stage] : kCommands) {
    if (command.starts_with(word)) return stage;
  }
  return std::nullopt;
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// The dialogue as it goes by. What we say may be a password: only its first word is looked at.
int Overhear(CURL*, curl_infotype what, char* data, size_t size, void* told) {
  Talking& talking = *static_cast<Talking*>(told);
  SmtpDialogue& dialogue = talking.dialogue;
  std::string_view line(data, size);
  if (what == CURLINFO_HEADER_OUT && line.starts_with("QUIT")) talking.over = true;
  if (talking.over) return 0;
  if (what == CURLINFO_HEADER_OUT) {
    if (const auto stage = StageOf(line)) {
      dialogue.stage = *stage;
      dialogue.code = 0;
    }
    return 0;
  }
  if (what != CURLINFO_HEADER_IN || line.size() < 3) return 0;
  if (!std::ranges::all_of(line.substr(0, 3), IsDigit)) return 0;
  if (dialogue.stage == Stage::kConnect) dialogue.stage = Stage::kGreeting;
  while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);
  dialogue.code = (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
  dialogue.reply = Said(line);
  return 0;
}

// libcurl asks each second, and waits two minutes for the reply to QUIT, whatever time we gave it:
// the mail's fate is known by then.
int KeepGoing(void* told, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const Talking& talking = *static_cast<Talking*>(told);
  return talking.over || talking.stopping->load() ? 1 : 0;
}

End EndOf(CURLcode result, int code) {
  switch (result) {
    case CURLE_OK:
      return End::kDone;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
      return End::kNoServer;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_USE_SSL_FAILED:
    case CURLE_SSL_CACERT_BADFILE:
      return End::kNoTls;
    case CURLE_LOGIN_DENIED:
      return End::kNoLogin;
    default:
      // After what the server has said, or because it says nothing.
      return code >= 400 ? End::kReplied : End::kBroken;
  }
}

// The status code of RFC 3463 in "550 5.1.1 …"; empty: none.
std::string_view StatusOf(std::string_view reply) {
  constexpr size_t kForm = 5;
  if (reply.size() < 4 + kForm) return {};
  const std::string_view status = reply.substr(4, kForm);
  const bool form = IsDigit(status[0]) && status[1] == '.' && IsDigit(status[2]) &&
                    status[3] == '.' && IsDigit(status[4]);
  return form ? status : std::string_view();
}

// The server does not relay for us, or does not like our address or what we write: another mail
// would fare no better, and the mailbox may well be there.
bool IsAboutUs(std::string_view status) {
  return status.starts_with("5.7") || status == "5.1.7" || status == "5.1.8";
}

// A mailbox that is not there, as opposed to one that is full.
bool SaysNobodyThere(const SmtpDialogue& d) {
  const std::string_view status = StatusOf(d.reply);
  if (!status.empty()) return status.starts_with("5.1") && !IsAboutUs(status);
  return d.code == 550 || d.code == 551 || d.code == 553;
}

// Options of one call, freed with it.
class Call {
 public:
  explicit Call(const Curl& curl) : curl_(curl), handle_(curl.init()) {}
  ~Call() {
    curl_.free_list(recipients_);
    curl_.cleanup(handle_);
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  template <typename T>
  void Set(CURLoption option, T value) {
    ok_ = curl_.set(handle_, option, value) == CURLE_OK && ok_;
  }
  void Recipient(const std::string& mailbox) {
    recipients_ = curl_.append(recipients_, mailbox.c_str());
    ok_ = ok_ && recipients_ != nullptr;
    Set(CURLOPT_MAIL_RCPT, recipients_);
  }
  bool ok() const { return ok_ && handle_ != nullptr; }
  CURLcode Perform() { return curl_.perform(handle_); }

 private:
  const Curl& curl_;
  CURL* handle_;
  curl_slist* recipients_ = nullptr;
  bool ok_ = true;
};

}  // namespace

bool IsLoopback(std::string_view host) {
  if (host == "localhost" || host == "::1") return true;
  return host.starts_with("127.") &&
         std::ranges::all_of(host, [](char c) { return c == '.' || IsDigit(c); });
}

Attempt ReadSmtpDialogue(const SmtpDialogue& d) {
  Attempt attempt;
  attempt.said = d.reply;
  attempt.why = d.code == 0 ? "no reply" : "replied " + std::to_string(d.code);
  // The whole message has left, and the server has not said no: it may have it.
  attempt.untaken = d.stage != Stage::kBody || d.code >= 400;
  switch (d.end) {
    case End::kDone:
      attempt.outcome = Outcome::kSent;
      attempt.provider_id = d.reply;
      attempt.untaken = false;
      return attempt;
    case End::kNoServer:
      attempt.why = "no connection";
      return attempt;
    case End::kBroken:
      return attempt;
    case End::kNoTls:
      attempt.outcome = Outcome::kAlarm;
      attempt.why = "no TLS with a certificate for this host";
      return attempt;
    case End::kNoLogin:
      // 4xx: its users cannot be asked now.
      attempt.outcome = d.code >= 400 && d.code < 500 ? Outcome::kRetry : Outcome::kAlarm;
      attempt.why = "login refused";
      return attempt;
    case End::kReplied:
      break;
  }
  if (d.code < 500) return attempt;
  switch (d.stage) {
    case Stage::kRecipient:
      attempt.bounced = SaysNobodyThere(d);
      [[fallthrough]];
    case Stage::kData:
    case Stage::kBody:
      attempt.outcome = IsAboutUs(StatusOf(d.reply)) ? Outcome::kAlarm : Outcome::kDead;
      return attempt;
    case Stage::kConnect:
    case Stage::kGreeting:
      return attempt;  // closed for now
    case Stage::kTls:
    case Stage::kLogin:
    case Stage::kSender:
      attempt.outcome = Outcome::kAlarm;
      return attempt;
  }
  return attempt;
}

Result<std::unique_ptr<Smtp>> Smtp::Make(SmtpOptions options, const Clock& clock) {
  PTG_RUN(LoadCurl());
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || IsDigit(c) || c == '-' || c == '.' ||
           c == ':';
  };
  if (options.host.empty() || !std::ranges::all_of(options.host, plain) || options.port == 0) {
    return Fail(Error(Code::kConfig, "mail.host is no host, or mail.port no port")
                    .At("/mail/host")
                    .Want("host = \"smtp.example.com\", port = 587"));
  }
  return std::unique_ptr<Smtp>(new Smtp(std::move(options), clock));
}

Smtp::Smtp(SmtpOptions options, const Clock& clock) : options_(std::move(options)), clock_(clock) {
  constexpr uint16_t kImplicitTls = 465;
  const bool literal = options_.host.contains(':');
  url_ = options_.tls_first || options_.port == kImplicitTls ? "smtps://" : "smtp://";
  url_ += literal ? '[' + options_.host + ']' : options_.host;
  url_ += ':' + std::to_string(options_.port) + '/';
  loopback_ = IsLoopback(options_.host);
  thread_ = std::thread([this] {
    NameThread("smtp");
    Work();
  });
}

Smtp::~Smtp() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void Smtp::Work() {
  while (true) {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (stopping_) return;
    const Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job.done.Set(Talk(job));
  }
}

Attempt Smtp::Talk(const Job& job) {
  const Millis left = job.by.Left(*job.clock);
  if (left > Millis(0)) return Exchange(job, left);
  Attempt late;
  late.why = "the SMTP server was busy with others for too long";
  return late;
}

Attempt Smtp::Exchange(const Job& job, Millis time) {
  constexpr Millis kLongest{600'000};  // of somebody who says no time at all
  Talking talking;
  talking.message = job.message;
  talking.stopping = &stopping_;
  const Curl& curl = **LoadCurl();  // Make has seen that it is there
  Call call(curl);
  const std::string url = url_ + job.sender.substr(job.sender.rfind('@') + 1);
  call.Set(CURLOPT_URL, url.c_str());
  call.Set(CURLOPT_PROTOCOLS_STR, "smtp,smtps");
  // A proxy out of the environment is not for mails.
  call.Set(CURLOPT_PROXY, "");
  call.Set(CURLOPT_NOSIGNAL, 1L);
  // Or the connection is closed where nobody asks us whether to wait.
  call.Set(CURLOPT_FORBID_REUSE, 1L);
  call.Set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(std::min(time, kConnectTimeout).count()));
  call.Set(CURLOPT_TIMEOUT_MS, static_cast<long>(std::min(time, kLongest).count()));
  const bool may_be_plain = loopback_ && options_.plain_on_loopback;
  call.Set(CURLOPT_USE_SSL, static_cast<long>(may_be_plain ? CURLUSESSL_TRY : CURLUSESSL_ALL));
  call.Set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  if (!options_.ca_file.empty()) call.Set(CURLOPT_CAINFO, options_.ca_file.c_str());
  if (!options_.user.empty()) {
    call.Set(CURLOPT_USERNAME, options_.user.c_str());
    call.Set(CURLOPT_PASSWORD, std::string(options_.password.Reveal()).c_str());
  }
  call.Set(CURLOPT_MAIL_FROM, job.sender.c_str());
  call.Recipient(job.recipient);
  call.Set(CURLOPT_UPLOAD, 1L);
  call.Set(CURLOPT_READFUNCTION, &GiveMessage);
  call.Set(CURLOPT_READDATA, static_cast<void*>(&talking));
  call.Set(CURLOPT_VERBOSE, 1L);
  call.Set(CURLOPT_DEBUGFUNCTION, &Overhear);
  call.Set(CURLOPT_DEBUGDATA, static_cast<void*>(&talking));
  call.Set(CURLOPT_NOPROGRESS, 0L);
  call.Set(CURLOPT_XFERINFOFUNCTION, &KeepGoing);
  call.Set(CURLOPT_XFERINFODATA, static_cast<void*>(&talking));
  if (!call.ok()) {
    Attempt attempt;
    attempt.outcome = Outcome::kAlarm;
    attempt.why = "libcurl does not take an option";
    return attempt;
  }
  const CURLcode result = call.Perform();
  talking.dialogue.end = EndOf(result, talking.dialogue.code);
  Attempt attempt = ReadSmtpDialogue(talking.dialogue);
  if (attempt.outcome != Outcome::kSent) {
    attempt.why += std::string(" (") + curl.error_text(result) + ")";
  }
  return attempt;
}

Task<Attempt> Smtp::Send(const Mail& mail, Deadline by) {
  const Result<Address> sender = ParseAddress(mail.from);
  if (!sender) co_return Fail(sender.error());
  const bool resend = options_.host.ends_with("resend.com");
  Job job{.sender = sender->mailbox,
          .recipient = mail.to,
          .message = Render(mail, {.date = clock_.Now(), .resend_key = resend}),
          .clock = &Loop::Current()->clock(),
          .by = by,
          .done = {}};
  const Completion<Attempt> done = job.done;
  {
    Attempt busy;
    busy.why = "too many mails wait for the SMTP server";
    const std::lock_guard lock(mutex_);
    if (jobs_.size() >= kMaxQueue) co_return busy;
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
  // libcurl keeps the time itself; this is for when it does not.
  constexpr Millis kLate{2'000};
  Error late(Code::kUpstreamTimeout, "the SMTP server does not answer");
  const Deadline until = by.at() == Deadline::Never().at() ? by : Deadline(by.at() + kLate);
  Result<Attempt> attempt = co_await done.Until(until, std::move(late));
  if (attempt) co_return *std::move(attempt);
  Attempt unheard;
  unheard.untaken = false;
  unheard.why = attempt.error().detail();
  co_return unheard;
}

}  // namespace pontage::mail
