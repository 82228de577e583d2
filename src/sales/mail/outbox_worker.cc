#include "sales/mail/outbox_worker.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/fault.h"
#include "base/log.h"
#include "base/try.h"
#include "io/fork.h"

namespace pontage::mail {
namespace {

// The quick part of the schedule: 5 s, 10 s and thirty times 20 s.
constexpr int64_t kQuick = 32;
constexpr Millis kDatabase{10'000};
constexpr bool kGivenBack = false;  // what has begun is kept until it has ended

}  // namespace

Millis RetryStep(int64_t attempts) {
  if (attempts <= 1) return 5s;
  if (attempts == 2) return 10s;
  if (attempts <= kQuick) return 20s;
  constexpr std::array<int64_t, 10> kMinutes = {1, 2, 5, 10, 20, 30, 60, 120, 240, 360};
  const auto at = std::min<size_t>(static_cast<size_t>(attempts - kQuick - 1), kMinutes.size() - 1);
  return Millis(kMinutes[at] * 60'000);
}

UnixMs NextAttempt(UnixMs started, UnixMs now, int64_t attempts, Millis after) {
  constexpr Millis kShortest{1'000};
  constexpr Millis kLongestEarly{30'000};
  constexpr Millis kLongest{21'600'000};
  const Millis wish = std::min(after, attempts <= kQuick ? kLongestEarly : kLongest);
  return std::max({started + RetryStep(attempts), now + kShortest, now + wish});
}

OutboxWorker::OutboxWorker(db::Database& database, std::vector<Provider*> providers,
                           obs::Registry& metrics, const Clock& clock, WorkerOptions options)
    : database_(database),
      providers_(std::move(providers)),
      metrics_(metrics),
      clock_(clock),
      options_(options) {}

void OutboxWorker::Stop() {
  stopped_ = true;
  wake_.Set();
}

Task<> OutboxWorker::Finish(Deadline by) {
  Stop();
  while (busy()) {
    wake_.Clear();
    PTG_CO_RUN(co_await wake_.Wait(by));
  }
  co_return {};
}

Deadline OutboxWorker::Soon(Millis time) { return Deadline::In(Loop::Current()->clock(), time); }

Task<> OutboxWorker::Run() {
  while (!stopped_) {
    wake_.Clear();
    const Result<size_t> begun = co_await Begin();
    if (!begun) {
      Log(LogLevel::kWarn, "mail.outbox_unreachable", {{"detail", begun.error().detail()}});
    }
    (void)co_await Measure();
    if (begun && *begun > 0) continue;
    (void)co_await wake_.Wait(Soon(options_.every));
  }
  co_return co_await Finish(Deadline::Never());
}

Task<size_t> OutboxWorker::Pass() {
  PTG_CO_TRY(const size_t begun, co_await Begin());
  while (busy()) {
    wake_.Clear();
    PTG_CO_RUN(co_await wake_.Wait(Deadline::Never()));
  }
  co_return begun;
}

Task<size_t> OutboxWorker::Begin() {
  ClaimLimits limits;
  limits.singles = options_.at_once - singles_.size();
  limits.bulk = !together_;
  if (stopped_ || limits.singles == 0) co_return 0;
  if (limits.bulk && !providers_.empty()) {
    limits.together = std::min(options_.together, providers_.front()->most_together());
  }
  // A stop waits for what is taken just now, too.
  taking_ = true;
  Result<Claim> taken = co_await Take(limits);
  Result<size_t> begun = taken ? Result<size_t>(Spread(std::move(*taken))) : Fail(taken.error());
  taking_ = false;
  if (stopped_) wake_.Set();
  co_return begun;
}

// Each goes its own way; how many they are.
size_t OutboxWorker::Spread(Claim claim) {
  size_t begun = claim.together.size();
  for (HeldMail& one : claim.singles) {
    // A store that hung may have let its lease run out; once is enough.
    if (!singles_.insert(one.id).second) continue;
    Claim alone;
    alone.singles.push_back(std::move(one));
    ++begun;
    Loop::Current()->Spawn(Go(std::move(alone)), "mail");
  }
  if (!claim.together.empty()) {
    claim.singles.clear();
    together_ = true;
    Loop::Current()->Spawn(Go(std::move(claim)), "mail");
  }
  return begun;
}

Task<Claim> OutboxWorker::Take(ClaimLimits limits) {
  const auto look = [this](db::Tx& tx) { return HasDue(tx, clock_.Now()); };
  PTG_CO_TRY(const bool due, co_await database_.Read(look, Soon(kDatabase)));
  if (!due) co_return Claim();
  const auto take = [this, limits](db::Tx& tx) {
    return TakeDue(tx, clock_.Now(), options_.lease.lease, limits);
  };
  PTG_CO_TRY(Claim claim, co_await database_.Write(take, Soon(kDatabase)));
  if (claim.suppressed > 0) {
    Log(LogLevel::kWarn, "mail.suppressed", {{"mails", claim.suppressed}});
  }
  if (claim.replaced > 0) {
    Log(LogLevel::kWarn, "mail.replaced", {{"mails", claim.replaced}});
  }
  if (claim.unreadable > 0) {
    Log(LogLevel::kError, "mail.unreadable", {{"mails", claim.unreadable}});
  }
  co_return claim;
}

// One mail, or those that leave together.
Task<> OutboxWorker::Go(Claim of) {
  const std::vector<HeldMail>& mails = of.together.empty() ? of.singles : of.together;
  std::vector<std::pair<std::string, int64_t>> held;
  for (const HeldMail& one : mails) held.emplace_back(one.id, one.attempts);
  const sales::Keep keep = [held](db::Tx& tx, UnixMs until) -> Result<> {
    for (const auto& [id, attempts] : held) PTG_RUN(KeepMail(tx, id, attempts, until));
    return {};
  };
  {
    const Fork keeping(
        sales::KeepLease(database_, clock_, options_.lease, kGivenBack, [&keep] { return keep; }));
    const Result<> done = co_await SendAll(of);
    // It is due again when its lease ends.
    if (!done) {
      Log(LogLevel::kError, "mail.mark_failed",
          {{"mail", mails.front().id}, {"detail", done.error().detail()}});
    }
  }
  if (of.together.empty()) {
    singles_.erase(mails.front().id);
  } else {
    together_ = false;
  }
  wake_.Set();
  co_return {};
}

Task<> OutboxWorker::SendAll(const Claim& claim) {
  if (!claim.together.empty()) co_return co_await SendTogether(claim);
  co_return co_await SendOne(claim.singles.front());
}

Task<Attempt> OutboxWorker::Ask(Provider& provider, const Mail& mail) {
  const Deadline by = Soon(options_.provider_timeout);
  Result<Attempt> attempt = co_await provider.Send(mail, by);
  if (attempt) co_return attempt;
  Attempt broken;
  broken.untaken = false;
  broken.why = attempt.error().detail();
  co_return broken;
}

void OutboxWorker::Note(const Provider& provider, const HeldMail& held, const Attempt& attempt) {
  metrics_
      .CounterOf("pontage_mail_attempts_total", "Mails handed to a provider, by what it said.",
                 {{"provider", provider.name()},
                  {"kind", NameOf(held.mail.kind)},
                  {"outcome", NameOf(attempt.outcome)}})
      .Add();
  if (attempt.outcome == Outcome::kSent) {
    Log(LogLevel::kInfo, "mail.sent",
        {{"mail", held.id},
         {"kind", NameOf(held.mail.kind)},
         {"license_id", held.license},
         {"provider", provider.name()},
         {"provider_id", attempt.provider_id},
         {"attempts", held.attempts}});
    return;
  }
  const bool alarm = attempt.outcome == Outcome::kAlarm;
  Log(alarm ? LogLevel::kError : LogLevel::kWarn, "mail.not_sent",
      {{"mail", held.id},
       {"kind", NameOf(held.mail.kind)},
       {"provider", provider.name()},
       {"outcome", NameOf(attempt.outcome)},
       {"reason", attempt.why},
       {"attempts", held.attempts}});
}

void OutboxWorker::Sum::Add(const Provider& by, const Attempt& attempt) {
  if (attempt.outcome != Outcome::kPark) parked = false;
  // Of several the one that may be asked first says when.
  after = after ? std::min(*after, attempt.after) : attempt.after;
  provider = by.name();
  if (!error.empty()) error += "; ";
  error += provider + ": " + attempt.why;
  if (!attempt.said.empty()) error += " (" + attempt.said + ")";
}

Task<> OutboxWorker::SendOne(const HeldMail& held) {
  const UnixMs started = clock_.Now();
  Sum sum;
  sum.doubts = held.doubts;
  PTG_KILL_POINT("mail.taken");
  for (Provider* const provider : providers_) {
    PTG_CO_TRY(const Attempt attempt, co_await Ask(*provider, held.mail));
    Note(*provider, held, attempt);
    if (attempt.outcome == Outcome::kSent) {
      PTG_KILL_POINT("mail.sent");
      co_return co_await Sent(held, *provider, attempt.provider_id);
    }
    sum.Add(*provider, attempt);
    if (attempt.outcome == Outcome::kDead) {
      co_return co_await Die(held, provider->name(), sum.error, attempt.bounced);
    }
    if (sum.doubts == 0 && attempt.untaken) continue;
    // An earlier attempt may have got through, or this one: who has the key is asked again.
    sum.doubts = held.doubts + 1;
    if (sum.doubts < kMaxDoubts) break;
  }
  const std::string batch = held.batch;
  co_return co_await Postpone(held, started, std::move(sum), batch);
}

Task<> OutboxWorker::SendTogether(const Claim& claim) {
  const UnixMs started = clock_.Now();
  Provider& provider = *providers_.front();
  std::vector<Mail> mails;
  mails.reserve(claim.together.size());
  for (const HeldMail& held : claim.together) mails.push_back(held.mail);
  const Deadline by = Soon(options_.provider_timeout);
  Result<Provider::Together> asked = co_await provider.SendTogether(mails, claim.batch, by);
  Provider::Together answer;
  if (asked) {
    answer = *std::move(asked);
  } else {
    answer.attempt.untaken = false;
    answer.attempt.why = asked.error().detail();
  }
  const Attempt& attempt = answer.attempt;
  for (size_t i = 0; i < claim.together.size(); ++i) {
    const HeldMail& held = claim.together[i];
    Attempt own = attempt;
    if (attempt.outcome == Outcome::kSent) own.provider_id = answer.ids.at(i);
    Note(provider, held, own);
    if (attempt.outcome == Outcome::kSent) {
      PTG_CO_RUN(co_await Sent(held, provider, own.provider_id));
      continue;
    }
    Sum sum;
    sum.Add(provider, own);
    if (attempt.outcome == Outcome::kDead && !attempt.untaken) {
      PTG_CO_RUN(co_await Die(held, provider.name(), sum.error, false));
      continue;
    }
    const bool doubtful = held.doubts > 0 || !attempt.untaken;
    sum.doubts = doubtful ? held.doubts + 1 : 0;
    // While its end is not known it stays together. One that is refused for one mail in it, or that
    // another provider must take, is sent one by one.
    const bool stays = doubtful && sum.doubts < kMaxDoubts;
    const bool alone =
        doubtful || attempt.outcome == Outcome::kDead || attempt.outcome == Outcome::kAlarm;
    std::string batch = stays ? held.batch : std::string(alone ? kAlone : "");
    PTG_CO_RUN(co_await Postpone(held, started, std::move(sum), std::move(batch)));
  }
  co_return {};
}

Task<> OutboxWorker::Sent(const HeldMail& held, const Provider& provider, std::string provider_id) {
  const UnixMs now = clock_.Now();
  const auto mark = [&held, &provider, provider_id, now](db::Tx& tx) {
    return MarkSent(tx, held.id, provider.name(), provider_id, now);
  };
  PTG_CO_RUN(co_await database_.Write(mark, Soon(kDatabase)));
  PTG_KILL_POINT("mail.marked");
  co_return {};
}

Task<> OutboxWorker::Postpone(const HeldMail& held, UnixMs started, Sum sum, std::string batch) {
  const bool nobody = sum.error.empty();
  if (nobody) sum.error = "no provider is configured";
  if (held.attempts >= kMaxAttempts) {
    co_return co_await Die(held, sum.provider, "given up: " + sum.error, false);
  }
  const UnixMs now = clock_.Now();
  Later later;
  later.parked = sum.parked && !nobody;
  const Millis after = sum.after.value_or(Millis(0));
  later.next = later.parked ? now + after : NextAttempt(started, now, held.attempts, after);
  later.doubts = sum.doubts;
  later.batch = std::move(batch);
  later.provider = sum.provider;
  later.error = Said(sum.error);
  if (later.parked) {
    Log(LogLevel::kError, "mail.parked",
        {{"mail", held.id}, {"provider", later.provider}, {"until", later.next.Rfc3339()}});
  }
  const auto mark = [&held, later, now](db::Tx& tx) { return MarkLater(tx, held, later, now); };
  PTG_CO_RUN(co_await database_.Write(mark, Soon(kDatabase)));
  co_return {};
}

Task<> OutboxWorker::Die(const HeldMail& held, std::string_view provider, std::string error,
                         bool bounced) {
  const UnixMs now = clock_.Now();
  const std::string said = Said(error);
  const auto mark = [&held, provider, said, bounced, now](db::Tx& tx) -> Result<bool> {
    if (bounced) PTG_RUN(Suppress(tx, held.mail.to, "bounced", now));
    return MarkDead(tx, held, provider, said, now);
  };
  PTG_CO_TRY(const bool dead, co_await database_.Write(mark, Soon(kDatabase)));
  if (!dead) co_return {};  // somebody else has it, or has sent it
  metrics_
      .CounterOf("pontage_mail_dead_total", "Mails that were given up.",
                 {{"kind", NameOf(held.mail.kind)}})
      .Add();
  Log(LogLevel::kError, "mail.dead",
      {{"mail", held.id},
       {"kind", NameOf(held.mail.kind)},
       {"license_id", held.license},
       {"provider", provider},
       {"bounced", bounced},
       {"attempts", held.attempts}});
  co_return {};
}

Task<> OutboxWorker::Measure() {
  constexpr Millis kEvery{5'000};
  const SteadyMs steady = Loop::Current()->clock().Steady();
  if (measured_ && steady - *measured_ < kEvery) co_return {};
  measured_ = steady;
  const auto count = [](db::Tx& tx) { return CountMails(tx); };
  PTG_CO_TRY(const OutboxTotals totals, co_await database_.Read(count, Soon(kDatabase)));
  const auto set = [this](std::string_view state, int64_t n) {
    metrics_
        .GaugeOf("pontage_mail_outbox", "Mails that wait, are parked, or were given up.",
                 {{"state", state}})
        .Set(n);
  };
  set("open", totals.open - totals.parked);
  set("parked", totals.parked);
  set("dead", totals.dead);
  const Millis age = totals.oldest ? clock_.Now() - *totals.oldest : Millis(0);
  metrics_
      .GaugeOf("pontage_mail_oldest_seconds",
               "How long the oldest mail has waited that has not left.")
      .Set(age.count() / 1000);
  co_return {};
}

}  // namespace pontage::mail
