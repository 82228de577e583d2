#pragma once

#include <functional>
#include <string_view>

#include "net/server.h"

namespace pontage::app {

// Built-in paths of another role in this process.
struct Door {
  std::function<bool(std::string_view target)> serves;
  net::Handler handle;
};

// Of anything with Serves and Handle, which outlives it.
template <typename Api>
Door DoorOf(Api& api) {
  return {.serves = [&api](std::string_view target) { return api.Serves(target); },
          .handle = [&api](net::RequestHead& head, net::BodySource& body,
                           net::ResponseWriter& out) { return api.Handle(head, body, out); }};
}

}  // namespace pontage::app
