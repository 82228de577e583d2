#pragma once

#include <string>
#include <string_view>

#include "sandbox/mailbox/mailbox.h"

// What the files of the mailbox share.
namespace pontage::sandbox {

// {"statusCode", "name", "message"}, as Resend says no.
Mailbox::Answer ResendError(int status, std::string_view name, std::string_view message);

// "a@b" out of "Name <a@b>".
std::string MailboxOf(std::string_view address);

}  // namespace pontage::sandbox
