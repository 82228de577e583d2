#include "sandbox/world.h"

#include <utility>

#include "base/check.h"

namespace pontage::sandbox {

codec::Uint256 World::Get(const Slot& slot) const {
  const auto it = slots_.find(slot);
  return it == slots_.end() ? codec::Uint256() : it->second;
}

void World::Put(const Slot& slot, const codec::Uint256& value) {
  if (value.IsZero()) {
    slots_.erase(slot);
  } else {
    slots_[slot] = value;
  }
}

void World::Set(const Slot& slot, const codec::Uint256& value) {
  journal_.push_back({slot, Get(slot)});
  Put(slot, value);
}

void World::RevertTo(Mark mark) {
  PTG_CHECK(mark <= journal_.size());
  while (journal_.size() > mark) {
    Put(journal_.back().slot, journal_.back().before);
    journal_.pop_back();
  }
}

std::vector<World::Change> World::TakeJournal() { return std::exchange(journal_, {}); }

void World::Undo(const std::vector<Change>& changes) {
  for (auto it = changes.rbegin(); it != changes.rend(); ++it) Set(it->slot, it->before);
}

}  // namespace pontage::sandbox
