#include "rail/rail_set.h"

#include <algorithm>
#include <atomic>

#include "base/try.h"

namespace pontage::rail {

namespace {

uint64_t NextId() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

}  // namespace

RailSet::RailSet(std::vector<std::unique_ptr<Rail>> rails,
                 std::unique_ptr<const LicenseRail> license)
    : id_(NextId()), rails_(std::move(rails)), license_(std::move(license)) {}

Result<std::optional<RailSet::Found>> RailSet::Find(const net::Headers& headers) const {
  for (const std::unique_ptr<Rail>& rail : rails_) {
    PTG_TRY(std::optional<deal::Credential> credential, rail->Find(headers));
    if (credential) return Found{rail.get(), *std::move(credential)};
  }
  return std::nullopt;
}

void RailSet::Offer(const deal::Quote& quote, const Error& why, deal::Challenge& challenge) const {
  for (const std::unique_ptr<Rail>& rail : rails_) rail->Offer(quote, why, challenge);
  if (license_) license_->Offer(quote.route, challenge);
}

bool RailSet::IsOwnHeader(std::string_view name) const {
  return std::ranges::any_of(rails_, [name](const auto& rail) { return rail->IsOwnHeader(name); });
}

const Rail* RailSet::ByName(std::string_view name) const {
  for (const std::unique_ptr<Rail>& rail : rails_) {
    if (rail->name() == name) return rail.get();
  }
  return nullptr;
}

}  // namespace pontage::rail
