#pragma once

#include "web/answer.h"

// What this role answers with.
namespace pontage::sales {

using web::Answer;
using web::Fields;
using web::JsonAnswer;
using web::PageAnswer;
using web::PathOf;
using web::ProblemAnswer;
using web::SeeOther;
using web::SendAnswer;

}  // namespace pontage::sales
