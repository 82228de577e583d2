#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"
#include "chain/view.h"
#include "db/db.h"
#include "io/runtime.h"
#include "io/timer.h"
#include "obs/metrics.h"
#include "settle/outgoing_store.h"
#include "settle/reorg_store.h"

namespace pontage::settle {

struct ReorgOptions {
  // How often the chain is looked at while there is something to watch. One small batch of calls.
  Millis look{5'000};
  // How often the books are: for what other nodes have mined, and for the gauge.
  Millis load{15'000};
  uint64_t confirmations = 1;        // of a transaction that somebody else sent
  obs::Registry* metrics = nullptr;  // outlives it; none: nothing is counted
};

// Watches the blocks in which one signer's transactions were mined until they are final, and does
// what is to be done when the chain throws them out: a transaction that is in another block is read
// again, one that is in none is open again and sent again, and every payment's history says so.
//
// A block stands on all blocks below it, so the highest one that was seen to stand says the same of
// every one below: a look costs the latest block, the final one, the highest of ours and those that
// are new, however many payments wait to be final. Each block is asked for once more by itself
// before it counts as final. What it knows is in the database; several nodes may watch the same.
// Everything on `loop`.
class ReorgWatch {
 public:
  // `view`, `database`, `loop` outlive it. `reopened` is told of a transaction that is open again.
  ReorgWatch(Loop& loop, chain::EvmView& view, db::Database& database, Signer signer,
             ReorgOptions options, std::function<void(Outgoing)> reopened);

  // A transaction was written down as mined there.
  void Mined(const InBlock& where);
  // A transaction that the chain had thrown out was mined again.
  void CameBack(const crypto::Hash32& hash, uint64_t block);
  // Until Stop.
  Task<> Run();
  void Stop();

 private:
  struct Seen {
    bool stands = false;  // it and all below it were seen to stand
    bool moved = false;
  };
  using Asked = std::vector<InBlock>;

  Task<> Look();
  Task<> Load();
  Asked ToAsk() const;
  Task<> Close(std::vector<InBlock> final_ones);
  Task<> Examine(InBlock replaced);
  Task<> Follow(std::vector<WatchedTransaction> lost_sight, InBlock replaced);
  Task<> ReadMoved();
  Task<> ReadOne(WatchedTransaction moved);
  Task<std::vector<Verdict>> Verdicts(const WatchedTransaction& moved,
                                      const chain::EvmReceipt& receipt,
                                      const std::vector<std::string>& payments);
  void Tell(std::string_view what, const WatchedTransaction& of, size_t payments);
  void Count(std::string_view what, uint64_t times = 1);

  Loop& loop_;
  chain::EvmView& view_;
  db::Database& database_;
  Signer signer_;
  ReorgOptions options_;
  std::function<void(Outgoing)> reopened_;

  std::map<InBlock, Seen> blocks_;
  std::vector<InBlock> fresh_;         // mined since the books were last read
  std::map<std::string, int> missed_;  // looks that found no receipt, by transaction
  std::optional<uint64_t> finalized_;  // as of the last look
  bool names_final_ = false;
  uint64_t head_ = 0;
  std::optional<SteadyMs> loaded_at_;
  Event stop_;
  bool stopping_ = false;
};

}  // namespace pontage::settle
