#pragma once

#include <string>
#include <utility>
#include <vector>

#include "app/config.h"
#include "base/time.h"
#include "io/task.h"

// What `pontage doctor` finds, and the parts of it that fill a file of their own.
namespace pontage::app {

struct Finding {
  std::string level;  // ok, warn, fail
  std::string what;
  std::string detail;
  std::string advice;
};

struct Exam {
  const Config& config;
  std::vector<Finding> findings;

  // `advice`: something that nobody but a person can see.
  void Ok(std::string what, std::string detail, std::string advice = "") {
    findings.push_back({"ok", std::move(what), std::move(detail), std::move(advice)});
  }
  void Warn(std::string what, std::string detail, std::string advice) {
    findings.push_back({"warn", std::move(what), std::move(detail), std::move(advice)});
  }
  void Bad(std::string what, std::string detail, std::string advice) {
    findings.push_back({"fail", std::move(what), std::move(detail), std::move(advice)});
  }
};

// The card rail: its keys, Stripe, its prices and its endpoint for us, and the mails. Nothing where
// there is neither [stripe] nor [mail].
Task<> ExamineSales(Exam& exam, Deadline by);

}  // namespace pontage::app
