#include "sales/session_memory.h"

#include <utility>

namespace pontage::sales {

std::optional<std::string> SessionMemory::Find(const std::string& session, SteadyMs now) const {
  const std::lock_guard lock(mutex_);
  const auto at = entries_.find(session);
  if (at == entries_.end() || now >= at->second.until) return std::nullopt;
  return at->second.purchase;
}

void SessionMemory::Note(const std::string& session, std::string purchase, SteadyMs now) {
  const SteadyMs until = now + (purchase.empty() ? kUnknown : kKnown);
  const std::lock_guard lock(mutex_);
  const auto [at, fresh] = entries_.try_emplace(session);
  at->second = {.purchase = std::move(purchase), .until = until};
  if (!fresh) return;
  order_.push_back(session);
  if (order_.size() <= most_) return;
  entries_.erase(order_.front());
  order_.pop_front();
}

}  // namespace pontage::sales
