#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "ledger/ledger_store.h"

// What became of a payment, line by line. ReadHistory (ledger_store.h) gives them in their order.
namespace pontage::ledger {

// Lines that every sale has, reserved, answered, settled, delivered, are times of its row: a line
// for each would be three more statements of every paid call. What else happens has a line in
// reservation_event, whose seq says where it stands among them: those after settling above
// kAfterSettled. (Payments of older versions have all their lines there, from 1 on.)
constexpr int64_t kAfterAnswered = 1;
constexpr int64_t kAfterSettled = 1'000'000;

// A line, in the transaction that does what it says and has written the reservation's row: two
// writers of one history never meet so. `after` is where it stands.
Result<> AddEvent(db::Tx& tx, const Author& author, const std::string& id, int64_t after,
                  std::string_view what, std::string detail);

}  // namespace pontage::ledger
