#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/id.h"
#include "base/money.h"
#include "base/time.h"
#include "codec/uint256.h"

namespace pontage::ledger {

// The life of one reservation. The row is made before any work is done (reserve before work) and
// its once-key is unique among rows that are not voided.
//
//   held ─> settled | voided | expired | in_doubt
//   in_doubt ─> settled | expired
//   expired ─> settled
//
//   settled    the money moved; tx and receipt are stored
//   voided     nothing was delivered and nothing is owed; the payment may come again
//   expired    our process died before the upstream had answered, or the authorization ran out:
//              never charged, and the key stays taken, so that nothing runs twice. Settled after
//              all if that process only slept and the money moved yet.
//   in_doubt   a settlement whose end we did not see; the sweeper asks
enum class State : uint8_t { kHeld, kSettled, kVoided, kExpired, kInDoubt };

// How far a held reservation got. A crash after kAnswered is finished by settling, before it by
// expiring.
enum class Stage : uint8_t { kReserved, kAnswered };

// What became of the goods.
//   none        nothing to deliver yet (not settled, or voided)
//   pending     settled, the answer is on its way
//   delivered   the last byte was handed to the buyer's socket
//   owed        settled and not delivered through our fault (crash, upstream failure after
//               settling): the same payment with the same request runs once more, until delivered,
//               or until too many answers broke off in their middle (Ledger::kMostCuts)
//   broken      the buyer's connection broke, he broke his request off, or he took the answer so
//               slowly that the upstream gave up: may be redeemed once
//   redeeming   a redemption runs
//   redeemed    that was the one redemption after a break, or one cut too many; nothing more is due
enum class Delivery : uint8_t {
  kNone,
  kPending,
  kDelivered,
  kOwed,
  kBroken,
  kRedeeming,
  kRedeemed
};

// As in the database, the logs and `pontage payments`: "held", "in_doubt", …
std::string_view ToString(State state);
std::string_view ToString(Stage stage);
std::string_view ToString(Delivery delivery);
Result<State> ParseState(std::string_view text);
Result<Stage> ParseStage(std::string_view text);
Result<Delivery> ParseDelivery(std::string_view text);

using OnceKey = std::array<uint8_t, 32>;
using Digest = std::array<uint8_t, 32>;

// One row. What Reserve takes is everything down to `valid_before`; the rest is the ledger's.
struct Reservation {
  ReservationId id;
  OnceKey once_key{};
  RequestId request_id;
  std::string tenant;
  std::string route;        // the route's match text, as configured
  std::string method;       // of the request
  std::string resource;     // canonical path and query
  Digest request_digest{};  // paywall::RequestDigest
  std::string rail;         // "x402"
  int protocol = 0;         // 1 or 2
  std::string scheme;       // "exact"
  std::string network;      // CAIP-2
  std::string asset;
  std::string payer;
  std::string pay_to;
  std::string nonce;
  codec::Uint256 amount;  // atomic units
  Money price;
  std::string payload;      // JSON, what the buyer sent: enough to settle without him
  std::string requirement;  // JSON, what he accepted
  UnixMs valid_before;

  State state = State::kHeld;
  Stage stage = Stage::kReserved;
  Delivery delivery = Delivery::kNone;
  int upstream_status = 0;
  std::string transaction;  // hash; also the last one seen while in doubt
  std::string receipt;      // JSON as it goes into PAYMENT-RESPONSE
  std::string failure;      // slug of the last failure
  std::string node;         // who works on it; orphaned when that node's heartbeat stops
  UnixMs created;
  UnixMs updated;
};

}  // namespace pontage::ledger
