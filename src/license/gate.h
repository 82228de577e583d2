#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/time.h"
#include "io/turn_batch.h"
#include "license/decision.h"
#include "license/digest_memo.h"
#include "license/entitlements.h"
#include "license/verifier.h"

namespace pontage::license {

// Judges the licenses that one loop is shown: offline, and each text's signature once. Belongs to
// its loop.
class Gate {
 public:
  // With room for about so many texts that it has found good, at most twice as many. Each has a few
  // places that it can take, so some leave before the last place is taken.
  explicit Gate(size_t most = kMost);
  ~Gate();

  struct Passed {
    std::shared_ptr<const Claims> claims;  // without the issuer, who is the verifier's
    Limits limits;                         // in force
  };
  // The license, when it opens what `demand` asks for; else why not. `verifier` is the current
  // configuration's.
  Result<Passed> Judge(const std::shared_ptr<const Verifier>& verifier, std::string_view token,
                       const Demand& demand, UnixMs now);

  // By the SHA-256 of the text.
  using Digest = crypto::Hash32;
  // As Judge, but nothing when this text was not seen before: `digest` is its own then, and there
  // is a signature to verify.
  std::optional<Result<Passed>> TryJudge(const std::shared_ptr<const Verifier>& verifier,
                                         std::string_view token, const Demand& demand, UnixMs now,
                                         Digest& digest);
  // What TryJudge had no answer to, in the loop's turn for it: `co_await` gives what Judge would.
  // All that is pointed to must live until then.
  class Verification;

  // From the next call on.
  void Use(std::shared_ptr<const Entitlements> words) { words_ = std::move(words); }
  const Entitlements& words() const { return *words_; }
  size_t kept() const;

  // Some hundred bytes each; whoever has more customers at once on one loop has some of them
  // verified again.
  static constexpr size_t kMost = 32'768;

 private:
  struct Seen {
    std::shared_ptr<const Claims> claims;
    Entitlements::Key words_key;
    UnixMs key_until;
  };
  struct Table;

  // Forgets what another verifier, or this one with other keys, has found good.
  void Follow(const std::shared_ptr<const Verifier>& verifier);
  // Of a text that was seen, and whose key is still good.
  const Seen* Find(const Digest& digest, UnixMs now);
  Result<Passed> JudgeNew(const std::shared_ptr<const Verifier>& verifier, std::string_view token,
                          const Digest& digest, const Demand& demand, UnixMs now);
  Result<Passed> JudgeSeen(const Seen& seen, const Demand& demand, UnixMs now) const;
  // Of a turn: so long the first waits for the last of them, a millisecond or less.
  static constexpr size_t kVerifiedTogether = 16;

  std::unique_ptr<Table> table_;
  DigestMemo digests_;
  // Held, so that another one cannot come to lie at its address.
  std::shared_ptr<const Verifier> verifier_;
  uint64_t version_ = 0;  // of its keys
  std::shared_ptr<const Entitlements> words_;
  TurnBatch verifications_{kVerifiedTogether};
};

class Gate::Verification final : public TurnBatch::Work {
 public:
  Verification(Gate& gate, const std::shared_ptr<const Verifier>& verifier, std::string_view token,
               const Digest& digest, const Demand& demand, UnixMs now)
      : Work(gate.verifications_),
        gate_(gate),
        verifier_(verifier),
        token_(token),
        digest_(digest),
        demand_(demand),
        now_(now) {}
  Result<Passed> await_resume() { return *std::move(result_); }

 private:
  void Do() override { result_ = gate_.JudgeNew(verifier_, token_, digest_, demand_, now_); }

  Gate& gate_;
  const std::shared_ptr<const Verifier>& verifier_;
  std::string_view token_;
  const Digest& digest_;
  const Demand& demand_;
  UnixMs now_;
  std::optional<Result<Passed>> result_;
};

}  // namespace pontage::license
