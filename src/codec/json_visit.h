#pragma once

#include <string_view>

#include "base/error.h"
#include "codec/json.h"

namespace pontage::codec {

// Is told what a document consists of, in its order, and nothing is kept: for what is read at every
// call and of a form that is known. Each answer is whether to go on. The views are good until the
// call returns.
class JsonVisitor {
 public:
  virtual ~JsonVisitor() = default;

  // The member whose value comes next. That none comes twice is the visitor's to see.
  virtual bool Name(std::string_view name) = 0;
  // An object (kObject) or an array (kArray) begins, or the one ends that began last.
  virtual bool Open(Json::Kind kind) = 0;
  virtual bool Close() = 0;
  // Any other value. `text`: of a string what it says, of a number its digits as they came.
  virtual bool Value(Json::Kind kind, std::string_view text) = 0;
};

// Leads `visitor` through one document in UTF-8. Refuses what ParseJson refuses, except members
// that appear twice, and says so in the same words; a visitor may have been told of the beginning
// by then. The same fault when the visitor does not go on.
Result<> VisitJson(std::string_view text, const JsonLimits& limits, JsonVisitor& visitor);

}  // namespace pontage::codec
