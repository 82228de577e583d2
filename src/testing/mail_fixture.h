#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/try.h"
#include "io/fork.h"
#include "sales/mail/outbox_worker.h"
#include "testing/engines.h"
#include "testing/expect.h"
#include "testing/stepped_clock.h"

// The outbox with its worker, between a store and providers that behave like the ones out there:
// they take a mail and lose the answer, refuse, fall silent, and know a key again.
namespace pontage::testing {

// What a provider does with a call.
enum class Does : uint8_t {
  kTake,
  kTakeSlowly,  // when `go` is set
  kTakeAndLoseTheAnswer,
  kTakeAndHang,   // whoever asked dies before it hears of it
  kFail,          // 500: it does not have it, but who could tell
  kRefuseForNow,  // 429
  kNotThere,      // no connection
  kPark,
  kRefuse,  // 422
  kBounce,
  kAlarm,
};

class FakeProvider final : public mail::Provider {
 public:
  // One that knows keys delivers a mail once for each.
  FakeProvider(std::string name, bool knows_keys, size_t together = 1)
      : name_(std::move(name)), knows_keys_(knows_keys), together_(together) {}

  std::string_view name() const override { return name_; }
  size_t most_together() const override { return together_; }

  Task<mail::Attempt> Send(const mail::Mail& one, Deadline) override {
    calls.push_back(one.dedup_key);
    const Does does = Next();
    if (Takes(does)) Deliver(one.dedup_key, {one});
    PTG_CO_RUN(co_await Pause(does));
    co_return Answer(does, "id:" + one.dedup_key);
  }
  Task<mail::Provider::Together> SendTogether(const std::vector<mail::Mail>& mails,
                                              const std::string& key, Deadline) override {
    calls.push_back(key);
    const Does does = Next();
    if (Takes(does)) Deliver(key, mails);
    PTG_CO_RUN(co_await Pause(does));
    mail::Provider::Together together;
    together.attempt = Answer(does, "id");
    for (const mail::Mail& one : mails) together.ids.push_back("id:" + one.dedup_key);
    co_return together;
  }

  // How often a mail of this key reached somebody.
  size_t Delivered(const std::string& key) const {
    const auto at = delivered_.find(key);
    return at == delivered_.end() ? 0 : at->second;
  }

  std::deque<Does> script;  // once each, then:
  Does usual = Does::kTake;
  std::vector<std::string> calls;
  Event go;
  bool changed_body = false;  // a key came with other mails than before

 private:
  static bool Takes(Does does) {
    return does == Does::kTake || does == Does::kTakeSlowly ||
           does == Does::kTakeAndLoseTheAnswer || does == Does::kTakeAndHang;
  }
  Task<> Pause(Does does) {
    if (does == Does::kTakeSlowly) PTG_CO_RUN(co_await go.Wait(Deadline::Never()));
    if (does == Does::kTakeAndHang) PTG_CO_RUN(co_await Sleep(60s));
    co_return {};
  }
  Does Next() {
    if (script.empty()) return usual;
    const Does next = script.front();
    script.pop_front();
    return next;
  }
  void Deliver(const std::string& key, const std::vector<mail::Mail>& mails) {
    std::string body;
    for (const mail::Mail& one : mails) body += one.dedup_key + "\n" + one.text + "\n";
    const auto [known, first] = seen_.emplace(key, body);
    if (known->second != body) changed_body = true;
    if (knows_keys_ && !first) return;
    for (const mail::Mail& one : mails) ++delivered_[one.dedup_key];
  }
  static mail::Attempt Answer(Does does, std::string id) {
    mail::Attempt attempt;
    attempt.why = "as ordered";
    switch (does) {
      case Does::kTake:
      case Does::kTakeSlowly:
        attempt.outcome = mail::Outcome::kSent;
        attempt.provider_id = std::move(id);
        attempt.untaken = false;
        break;
      case Does::kTakeAndLoseTheAnswer:
      case Does::kTakeAndHang:
      case Does::kFail:
        attempt.untaken = false;
        break;
      case Does::kRefuseForNow:
        attempt.after = 2s;
        break;
      case Does::kNotThere:
        break;
      case Does::kPark:
        attempt.outcome = mail::Outcome::kPark;
        attempt.after = Millis(3'600'000);
        break;
      case Does::kRefuse:
      case Does::kBounce:
        attempt.outcome = mail::Outcome::kDead;
        attempt.bounced = does == Does::kBounce;
        break;
      case Does::kAlarm:
        attempt.outcome = mail::Outcome::kAlarm;
        break;
    }
    return attempt;
  }

  std::string name_;
  bool knows_keys_;
  size_t together_;
  std::map<std::string, std::string> seen_;
  std::map<std::string, size_t> delivered_;
};

inline mail::Mail MailTo(std::string to, std::string key, mail::Kind kind = mail::Kind::kLicense) {
  mail::Mail one;
  one.kind = kind;
  one.from = "Example <keys@example.com>";
  one.to = std::move(to);
  one.subject = "Your license";
  one.text = "eyJ.secret.token\n";
  one.html = "<p>é</p>";
  one.dedup_key = std::move(key);
  return one;
}

class OutboxFixture : public ::testing::TestWithParam<EngineKind> {
 protected:
  OutboxFixture() : engine_(GetParam()), database_(engine_.OpenMigrated()) { Restart(); }
  ~OutboxFixture() override { loop_.DropSpawned(); }

  // Another worker, as a process that starts has it.
  void Restart() {
    loop_.DropSpawned();
    worker_ = Worker();
  }
  // The worker looks often, and the provider takes its time with the next mail, until `resend_.go`.
  void LookOftenAtASlowProvider() {
    resend_.script = {Does::kTakeSlowly};
    mail::WorkerOptions options;
    options.every = Millis(10);
    worker_ = Worker(options);
  }
  std::unique_ptr<mail::OutboxWorker> Worker(mail::WorkerOptions options = {}) {
    std::vector<mail::Provider*> providers = {&resend_, &smtp_};
    return std::make_unique<mail::OutboxWorker>(*database_, providers, metrics_, clock_, options);
  }
  template <typename F>
  auto Do(F body) {
    return database_->WriteNow(body);
  }
  bool Put(const mail::Mail& one, const std::string& license = "lic_1") {
    const std::string id = "mail_" + std::to_string(++ids_);
    const UnixMs now = clock_.Now();
    const auto added = Do([&](db::Tx& tx) { return mail::Enqueue(tx, id, one, license, now); });
    EXPECT_THAT(added, IsOk());
    return added.value_or(false);
  }
  size_t Pass() {
    const auto tried = loop_.RunUntilDone(worker_->Pass());
    EXPECT_THAT(tried, IsOk());
    return tried.value_or(0);
  }
  // A pass whose process dies in the middle.
  void PassAndDie() {
    {
      const auto run = [&]() -> Task<> {
        const Fork pass(Void(worker_->Pass()));
        co_return co_await Sleep(100ms);
      };
      EXPECT_THAT(loop_.RunUntilDone(run()), IsOk());
    }
    Restart();
  }
  static Task<> Void(Task<size_t> task) {
    PTG_CO_RUN(co_await task);
    co_return {};
  }
  // Until `ready`; kTimeout after half a minute.
  template <typename F>
  static Task<> Until(F ready) {
    for (int i = 0; i < 3'000 && !ready(); ++i) PTG_CO_RUN(co_await Sleep(10ms));
    if (!ready()) co_return Fail(Code::kTimeout, "it did not happen");
    co_return {};
  }
  Task<> UntilCalled(size_t times) {
    const auto ready = [this, times] { return resend_.calls.size() >= times; };
    co_return co_await Until(ready);
  }
  Task<> UntilSent(std::string key) {
    const auto ready = [this, key] { return Row(key).state == "sent"; };
    co_return co_await Until(ready);
  }
  static Task<> UntilEnded(const Fork& task) {
    const auto ready = [&task] { return task.result().has_value(); };
    co_return co_await Until(ready);
  }
  // Until nothing is due.
  static Task<> Drain(mail::OutboxWorker& worker) {
    while (true) {
      PTG_CO_TRY(const size_t tried, co_await worker.Pass());
      if (tried == 0) co_return {};
    }
  }
  // Passes with time going by, until nothing is open or `most` have passed; seconds at which a
  // mail was tried.
  std::vector<int64_t> RunFor(Millis most) {
    std::vector<int64_t> tried;
    for (Millis passed(0); passed <= most; passed += 1'000ms) {
      if (Pass() > 0) tried.push_back(passed.count() / 1000);
      clock_.Advance(1'000ms);
    }
    return tried;
  }
  mail::OutboxRow Row(const std::string& key) {
    const auto rows = database_->ReadNow([](db::Tx& tx) { return mail::ListMails(tx, {}); });
    EXPECT_THAT(rows, IsOk());
    for (const mail::OutboxRow& row : *rows) {
      if (row.dedup_key == key) return row;
    }
    ADD_FAILURE() << "no row of " << key;
    return {};
  }
  uint64_t Dead(mail::Kind kind) {
    return metrics_.CounterOf("pontage_mail_dead_total", "", {{"kind", NameOf(kind)}}).value();
  }

  Engine engine_;
  std::unique_ptr<db::Database> database_;
  Loop loop_;
  SteppedClock clock_;
  obs::Registry metrics_;
  FakeProvider resend_{"resend", true, 100};
  FakeProvider smtp_{"smtp", false};
  std::unique_ptr<mail::OutboxWorker> worker_;
  int ids_ = 0;
};

}  // namespace pontage::testing
