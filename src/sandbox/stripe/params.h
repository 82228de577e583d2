#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "codec/json.h"
#include "sandbox/stripe/api_error.h"
#include "sandbox/stripe/form.h"

namespace pontage::sandbox::stripe {

// Reads the parameters of one request by name, and says where a fault is as Stripe does. A path has
// dots where the form has brackets: "automatic_tax.enabled". An empty value asks to clear a field;
// for the readers it counts as absent, and Clears tells it apart. Looks into the form, which must
// outlive it.
class Params {
 public:
  explicit Params(const FormNode& form) : node_(&form) {}

  // Refuses every parameter that is not named, as Stripe does (parameter_unknown). In a pattern "*"
  // stands for any one step, "**" at its end for all that is below: "line_items.*.price",
  // "metadata.*".
  Answered<> Only(std::span<const std::string_view> patterns) const;

  bool Has(std::string_view path) const { return Find(path) != nullptr; }
  bool Clears(std::string_view path) const;
  // The members below `path`, none when it is absent.
  Params At(std::string_view path) const;
  // The items of a list in their order.
  std::vector<Params> List(std::string_view path) const;

  Answered<std::optional<std::string>> MaybeText(std::string_view path) const;
  // parameter_missing when it is not there.
  Answered<std::string> Text(std::string_view path) const;
  Answered<std::vector<std::string>> Texts(std::string_view path, size_t most) const;
  Answered<std::optional<int64_t>> MaybeInt(std::string_view path, int64_t least,
                                            int64_t most) const;
  Answered<int64_t> Int(std::string_view path, int64_t least, int64_t most) const;
  Answered<std::optional<bool>> MaybeBool(std::string_view path) const;
  // One of `words`.
  Answered<std::optional<std::string>> MaybeWord(
      std::string_view path, std::initializer_list<std::string_view> words) const;
  // `before` with the keys of metadata[…] set, those with empty values taken away; an empty
  // metadata clears all. At most 50 keys of 40 bytes, values of 500.
  Answered<codec::Json> Metadata(const codec::Json& before) const;

  // "items[0][price]": as the form spells it.
  std::string NameOf(std::string_view path) const;
  const FormNode& node() const { return *node_; }

 private:
  Params(const FormNode& node, std::string name) : node_(&node), name_(std::move(name)) {}
  const FormNode* Find(std::string_view path) const;
  std::unexpected<ApiError> Missing(std::string_view path) const;

  const FormNode* node_;
  std::string name_;
};

}  // namespace pontage::sandbox::stripe
