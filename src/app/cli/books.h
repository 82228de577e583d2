#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "db/db.h"

// What the commands share that read the books and change nothing.
namespace pontage::app {

// A store, opened to read. One that was never made is not made now: kNotFound.
Result<std::unique_ptr<db::Database>> OpenBooks(const std::string& url);

// kNotFound, with what may be asked for. What may be a license, or a piece of one,
// is not repeated.
Error NothingUnder(const std::string& name);

}  // namespace pontage::app
