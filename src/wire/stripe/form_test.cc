#include "wire/stripe/form.h"

#include <gtest/gtest.h>

#include "testing/seeds.h"

namespace pontage::stripe {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

// The naive reading of a form: split, then percent off.
std::string Decoded(std::string_view text) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'A' + 10; };
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    out.push_back(static_cast<char>(digit(text.at(i + 1)) * 16 + digit(text.at(i + 2))));
    i += 2;
  }
  return out;
}
Fields Read(std::string_view form) {
  Fields fields;
  while (!form.empty()) {
    const std::string_view field = form.substr(0, form.find('&'));
    form.remove_prefix(std::min(form.size(), field.size() + 1));
    const size_t equals = field.find('=');
    fields.emplace_back(Decoded(field.substr(0, equals)), Decoded(field.substr(equals + 1)));
  }
  return fields;
}

TEST(FormTest, NestsInBracketsAndKeepsItsOrder) {
  Form form;
  form.Add("mode", "subscription").Add("line_items[0][price]", "price_1");
  form.Add("line_items[0][quantity]", 1)
      .Add("trial", int64_t{-7})
      .Add("on", true)
      .Add("off", false);
  EXPECT_EQ(form.Encode(),
            "mode=subscription&line_items[0][price]=price_1&line_items[0][quantity]=1&trial=-7"
            "&on=true&off=false");
}

TEST(FormTest, ListsHaveTheirIndex) {
  Form form;
  form.AddList("expand", {"subscription", "line_items"}).AddList("none", {});
  EXPECT_EQ(form.Encode(), "expand[0]=subscription&expand[1]=line_items");
}

TEST(FormTest, AnEmptyTextClearsAndIsSaid) {
  Form form;
  EXPECT_TRUE(form.empty());
  EXPECT_EQ(form.Encode(), "");
  form.Clear("cancel_at").Add("description", "");
  EXPECT_FALSE(form.empty());
  EXPECT_EQ(form.Encode(), "cancel_at=&description=");
}

// Stripe fills it in; encoded twice it would stand in the buyer's address bar.
TEST(FormTest, ThePlaceForTheSessionIsEncodedOnce) {
  Form form;
  form.Add("success_url", "https://h/ok?sid={CHECKOUT_SESSION_ID}&x=1");
  EXPECT_EQ(form.Encode(),
            "success_url=https%3A%2F%2Fh%2Fok%3Fsid%3D%7BCHECKOUT_SESSION_ID%7D%26x%3D1");
}

TEST(FormTest, WhatIsNoLetterIsEncoded) {
  Form form;
  form.Add("a", "-._~ +&=%[]'()*!\n").Add("name", "Zoë GmbH");
  EXPECT_EQ(form.Encode(), "a=-._~%20%2B%26%3D%25%5B%5D%27%28%29%2A%21%0A&name=Zo%C3%AB%20GmbH");
}

// A key of somebody else's must not become a parameter of its own.
TEST(FormTest, AKeyCannotLeaveItsMap) {
  Form form;
  form.AddTo("metadata", "x][y", "1").AddTo("subscription_data[metadata]", "plan&mode=setup", "2");
  EXPECT_EQ(form.Encode(),
            "metadata[x%5D%5By]=1&subscription_data[metadata][plan%26mode%3Dsetup]=2");
}

TEST(FormTest, WhatIsReadIsWhatWasMeant) {
  for (const uint64_t seed : testing::Seeds(20)) {
    SCOPED_TRACE(testing::Rerun(seed));
    SeededRng rng(seed);
    Form form;
    Fields want;
    for (int i = 0; i < 20; ++i) {
      std::string bytes(rng.Next64() % 40, '\0');
      for (char& c : bytes) c = static_cast<char>(rng.Next64());
      const std::string name = "field[" + std::to_string(i) + "]";
      form.Add(name, bytes);
      want.emplace_back(name, bytes);
      form.AddTo("map", bytes, "v");
      want.emplace_back("map[" + bytes + "]", "v");
    }
    EXPECT_EQ(Read(form.Encode()), want);
  }
}

}  // namespace
}  // namespace pontage::stripe
