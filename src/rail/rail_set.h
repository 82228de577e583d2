#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "rail/license_rail.h"
#include "rail/rail.h"

namespace pontage::rail {

// The rails of one configuration, in the order in which a credential is looked for: the first rail
// that finds one has it. Immutable.
class RailSet {
 public:
  explicit RailSet(std::vector<std::unique_ptr<Rail>> rails,
                   std::unique_ptr<const LicenseRail> license = nullptr);

  struct Found {
    const Rail* rail = nullptr;
    deal::Credential credential;
  };
  Result<std::optional<Found>> Find(const net::Headers& headers) const;
  void Offer(const deal::Quote& quote, const Error& why, deal::Challenge& challenge) const;
  bool IsOwnHeader(std::string_view name) const;
  // nullptr when no rail has that name (a row of an older configuration).
  const Rail* ByName(std::string_view name) const;
  // nullptr where no licenses are taken. It moves no money and writes nothing, so it is no Rail:
  // who has a license that opens a route passes before any of these is asked.
  const LicenseRail* license() const { return license_.get(); }
  // Another one for every set, larger for those made later.
  uint64_t id() const { return id_; }

 private:
  uint64_t id_;
  std::vector<std::unique_ptr<Rail>> rails_;
  std::unique_ptr<const LicenseRail> license_;
};

}  // namespace pontage::rail
