#pragma once

#include <string_view>
#include <vector>

#include "db/db.h"
#include "ledger/reservation.h"

// Between a Reservation and its row. For those who write the SQL of the books.
namespace pontage::ledger {

// The columns in the order in which ToValues writes and FromRow reads them, without what only the
// SQL of the sweeper uses.
#define PTG_RESERVATION_COLUMNS                                                               \
  "id, once_key, request_id, tenant, route, method, resource, request_digest, rail,"          \
  " protocol, scheme, network, asset, payer, pay_to, nonce, amount, price_micros, payload,"   \
  " requirement, valid_before_ms, state, stage, delivery, upstream_status, tx_hash, receipt," \
  " failure, node, created_ms, updated_ms"

std::vector<db::Value> ToValues(const Reservation& reservation);
// kStore when a column does not hold what ToValues wrote there.
Result<Reservation> FromRow(const db::Row& row);
Result<std::vector<Reservation>> FromRows(const db::Rows& rows);

db::Blob ToBlob(const std::array<uint8_t, 32>& bytes);

}  // namespace pontage::ledger
