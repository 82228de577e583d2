#pragma once

#include <curl/curl.h>

#include "base/error.h"

namespace pontage::mail {

// What we call of libcurl. Loaded at run time: the binary starts without the library, and who mails
// through Resend alone does not need it.
struct Curl {
  decltype(&curl_global_init) global_init = nullptr;
  decltype(&curl_easy_init) init = nullptr;
  decltype(&curl_easy_setopt) set = nullptr;
  decltype(&curl_easy_perform) perform = nullptr;
  decltype(&curl_easy_cleanup) cleanup = nullptr;
  decltype(&curl_easy_strerror) error_text = nullptr;
  decltype(&curl_slist_append) append = nullptr;
  decltype(&curl_slist_free_all) free_list = nullptr;
};

// kConfig when the library is not installed, or too old for us.
Result<const Curl*> LoadCurl();

}  // namespace pontage::mail
