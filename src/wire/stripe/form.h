#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pontage::stripe {

// Parameters of a call as Stripe's v1 API takes them, in a POST's body and a GET's query alike:
// application/x-www-form-urlencoded, nesting in brackets, lists with their index. They keep the
// order in which they were added, so that the same call gives the same bytes.
//
//   Form form;
//   form.Add("line_items[0][price]", price).Add("line_items[0][quantity]", 1);
//   form.AddTo("metadata", "plan", plan).Add("allow_promotion_codes", true);
class Form {
 public:
  // `name` is a constant of ours: its brackets are nesting. The value is taken as it is meant
  // ("{CHECKOUT_SESSION_ID}" with its braces) and encoded once, by Encode.
  Form& Add(std::string_view name, std::string_view value);
  template <std::same_as<bool> B>
  Form& Add(std::string_view name, B value) {
    return Add(name, value ? std::string_view("true") : std::string_view("false"));
  }
  template <std::integral N>
    requires(!std::same_as<N, bool> && !std::same_as<N, char>)
  Form& Add(std::string_view name, N value) {
    return Add(name, std::string_view(std::to_string(value)));
  }
  // name[0], name[1], …
  Form& AddList(std::string_view name, const std::vector<std::string>& values);
  // map[key]. The key may be anybody's: brackets in it are letters.
  Form& AddTo(std::string_view map, std::string_view key, std::string_view value);
  // Unsets the field at Stripe, which an absent one would leave as it is.
  Form& Clear(std::string_view name) { return Add(name, std::string_view()); }

  bool empty() const { return fields_.empty(); }
  // "a=1&b[0][c]=x%20y": all but letters, digits and -._~ as percent and two digits; brackets of
  // names stay, as the official clients leave them.
  std::string Encode() const;

 private:
  struct Field {
    std::string name;  // encoded
    std::string value;
  };
  std::vector<Field> fields_;
};

}  // namespace pontage::stripe
