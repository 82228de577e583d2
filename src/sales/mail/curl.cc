#include "sales/mail/curl.h"

#include <dlfcn.h>

namespace pontage::mail {
namespace {

template <typename F>
bool Load(void* library, const char* name, F& function) {
  function = reinterpret_cast<F>(dlsym(library, name));
  return function != nullptr;
}

}  // namespace

Result<const Curl*> LoadCurl() {
  static Curl curl;
  static const bool loaded = [] {
    void* const library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    return library != nullptr && Load(library, "curl_global_init", curl.global_init) &&
           Load(library, "curl_easy_init", curl.init) &&
           Load(library, "curl_easy_setopt", curl.set) &&
           Load(library, "curl_easy_perform", curl.perform) &&
           Load(library, "curl_easy_cleanup", curl.cleanup) &&
           Load(library, "curl_easy_strerror", curl.error_text) &&
           Load(library, "curl_slist_append", curl.append) &&
           Load(library, "curl_slist_free_all", curl.free_list) &&
           curl.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  }();
  if (!loaded) {
    return Fail(Error(Code::kConfig, "SMTP's client library libcurl.so.4 is not installed")
                    .At("/mail/provider")
                    .Want("apt-get install libcurl4, or mail.provider = \"resend\""));
  }
  return &curl;
}

}  // namespace pontage::mail
