#include "ledger/reservation_row.h"

#include <algorithm>

#include "base/try.h"

namespace pontage::ledger {
namespace {

Result<std::array<uint8_t, 32>> ToDigest(const std::string& bytes) {
  std::array<uint8_t, 32> digest{};
  if (bytes.size() != digest.size()) {
    return Fail(Code::kStore, "a digest in the books is not 32 bytes long");
  }
  std::ranges::transform(bytes, digest.begin(), [](char c) { return static_cast<uint8_t>(c); });
  return digest;
}

}  // namespace

db::Blob ToBlob(const std::array<uint8_t, 32>& bytes) {
  return {std::string(bytes.begin(), bytes.end())};
}

std::vector<db::Value> ToValues(const Reservation& r) {
  // One by one: a list of initializers is copied whole.
  std::vector<db::Value> values;
  values.reserve(31);
  const auto add = [&values](auto&&... more) {
    (values.emplace_back(std::forward<decltype(more)>(more)), ...);
  };
  add(r.id.str(), ToBlob(r.once_key), r.request_id.str(), r.tenant, r.route, r.method, r.resource,
      ToBlob(r.request_digest), r.rail, int64_t{r.protocol}, r.scheme, r.network, r.asset, r.payer,
      r.pay_to, r.nonce, r.amount.ToFixedDecimal(), r.price.micros(), r.payload, r.requirement,
      r.valid_before.ms(), std::string(ToString(r.state)), std::string(ToString(r.stage)),
      std::string(ToString(r.delivery)), int64_t{r.upstream_status}, r.transaction, r.receipt,
      r.failure, r.node, r.created.ms(), r.updated.ms());
  return values;
}

Result<Reservation> FromRow(const db::Row& row) {
  Reservation r;
  size_t i = 0;
  const auto text = [&]() -> const std::string& { return row.Text(i++); };
  const auto number = [&] { return row.Int(i++); };
  r.id = ReservationId(text());
  PTG_TRY(r.once_key, ToDigest(row.Bytes(i++)));
  r.request_id = RequestId(text());
  r.tenant = text();
  r.route = text();
  r.method = text();
  r.resource = text();
  PTG_TRY(r.request_digest, ToDigest(row.Bytes(i++)));
  r.rail = text();
  r.protocol = static_cast<int>(number());
  r.scheme = text();
  r.network = text();
  r.asset = text();
  r.payer = text();
  r.pay_to = text();
  r.nonce = text();
  PTG_TRY(r.amount, codec::Uint256::FromFixedDecimal(text()));
  r.price = Money::Micros(number());
  r.payload = text();
  r.requirement = text();
  r.valid_before = UnixMs(number());
  PTG_TRY(r.state, ParseState(text()));
  PTG_TRY(r.stage, ParseStage(text()));
  PTG_TRY(r.delivery, ParseDelivery(text()));
  r.upstream_status = static_cast<int>(number());
  r.transaction = text();
  r.receipt = text();
  r.failure = text();
  r.node = text();
  r.created = UnixMs(number());
  r.updated = UnixMs(number());
  return r;
}

Result<std::vector<Reservation>> FromRows(const db::Rows& rows) {
  std::vector<Reservation> reservations;
  reservations.reserve(rows.size());
  for (const db::Row& row : rows) {
    PTG_TRY(Reservation reservation, FromRow(row));
    reservations.push_back(std::move(reservation));
  }
  return reservations;
}

}  // namespace pontage::ledger
