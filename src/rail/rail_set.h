#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "rail/rail.h"

namespace pontage::rail {

// The rails of one configuration, in the order in which a credential is looked for: the first rail
// that finds one has it. Immutable.
class RailSet {
 public:
  explicit RailSet(std::vector<std::unique_ptr<Rail>> rails);

  struct Found {
    const Rail* rail = nullptr;
    deal::Credential credential;
  };
  Result<std::optional<Found>> Find(const net::Headers& headers) const;
  void Offer(const deal::Quote& quote, const Error& why, deal::Challenge& challenge) const;
  bool IsOwnHeader(std::string_view name) const;
  // nullptr when no rail has that name (a row of an older configuration).
  const Rail* ByName(std::string_view name) const;
  // Another one for every set, larger for those made later.
  uint64_t id() const { return id_; }

 private:
  uint64_t id_;
  std::vector<std::unique_ptr<Rail>> rails_;
};

}  // namespace pontage::rail
