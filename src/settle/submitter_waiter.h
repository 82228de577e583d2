#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "io/timer.h"
#include "settle/submitter.h"

namespace pontage::settle {

// Somebody who waits for his payment's transaction, on any loop. Answered once, by whichever comes
// first. Everything but its making is on the submitter's loop.
struct Submitter::Waiter final : DeadlineNode {
  Waiter(Job j, Deadline d) : job(std::move(j)), by(d) {}

  enum class State : uint8_t { kQueued, kStoring, kStored, kDone };

  void Deliver(std::shared_ptr<const chain::EvmReceipt> receipt) {
    if (state == State::kDone) return;
    Sent sent;
    sent.hash = receipt ? receipt->hash : hash;
    sent.receipt = std::move(receipt);
    sent.batch = batch;
    Answer(std::move(sent));
  }
  void Refuse(Error why) { Answer(Fail(std::move(why))); }
  void Expire() override {
    if (state == State::kStored) return Deliver(nullptr);
    Refuse(Error(Code::kOverloaded, "no transaction could be made for the payment in time"));
  }

  Job job;
  Deadline by;
  SteadyMs since;  // in the queue
  State state = State::kQueued;
  crypto::Hash32 hash{};  // once stored
  bool batch = false;
  Completion<Sent> answer;

 private:
  void Answer(Result<Sent> result) {
    if (state == State::kDone) return;
    state = State::kDone;
    Unlink();
    answer.Set(std::move(result));
  }
};

}  // namespace pontage::settle
