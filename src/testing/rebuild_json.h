#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "codec/json.h"
#include "codec/json_visit.h"

namespace pontage::testing {

// Makes a tree again of what a visitor is told. A member that comes twice is kept twice in `names`.
class RebuildJson : public codec::JsonVisitor {
 public:
  bool Name(std::string_view name) override {
    names.emplace_back(name);
    name_.assign(name);
    return true;
  }
  bool Open(codec::Json::Kind kind) override {
    const bool object = kind == codec::Json::Kind::kObject;
    open_.emplace_back(name_, object ? codec::Json::Object() : codec::Json::Array());
    return true;
  }
  bool Close() override {
    auto [name, made] = std::move(open_.back());
    open_.pop_back();
    name_ = std::move(name);
    return Add(std::move(made));
  }
  bool Value(codec::Json::Kind kind, std::string_view text) override {
    if (kind == codec::Json::Kind::kString) return Add(codec::Json(text));
    // Null, true and false are their own text, as a number is.
    Result<codec::Json> plain = codec::ParseJson(text);
    return plain && Add(*std::move(plain));
  }

  codec::Json root;
  std::vector<std::string> names;

 private:
  bool Add(codec::Json value) {
    if (open_.empty()) {
      root = std::move(value);
    } else if (codec::Json& parent = open_.back().second; parent.IsObject()) {
      parent.Set(name_, std::move(value));
    } else {
      parent.Push(std::move(value));
    }
    return true;
  }

  std::vector<std::pair<std::string, codec::Json>> open_;
  std::string name_;
};

}  // namespace pontage::testing
