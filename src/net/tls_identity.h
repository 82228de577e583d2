#pragma once

#include <memory>
#include <string>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/check.h"

// Certificates for the tests of TLS, made on the spot.
namespace pontage::net::testing {

template <auto kFree>
struct Freer {
  template <typename T>
  void operator()(T* what) const {
    kFree(what);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using Cert = std::unique_ptr<X509, Freer<X509_free>>;

struct Identity {
  Key key;
  Cert cert;
};

inline void AddExtension(X509* cert, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, cert, nullptr, nullptr, 0);
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  PTG_CHECK(extension != nullptr);
  X509_add_ext(cert, extension, -1);
  X509_EXTENSION_free(extension);
}

// A fresh certificate for `names` ("DNS:a,IP:b"; none: an authority), signed by `issuer` or by
// itself.
inline Identity MakeIdentity(const std::string& names, const Identity* issuer, int days = 1) {
  Identity made{Key(EVP_EC_gen("P-256")), Cert(X509_new())};
  X509* const cert = made.cert.get();
  X509_set_version(cert, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), names.empty() ? 1 : 2);
  X509_gmtime_adj(X509_getm_notBefore(cert), -86'400 * 10L);
  X509_gmtime_adj(X509_getm_notAfter(cert), 86'400L * days);
  X509_NAME* const subject = X509_get_subject_name(cert);
  const std::string common = names.empty() ? "test authority" : "test server";
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(common.c_str()), -1, -1, 0);
  X509* const signer = issuer != nullptr ? issuer->cert.get() : cert;
  X509_set_issuer_name(cert, X509_get_subject_name(signer));
  X509_set_pubkey(cert, made.key.get());
  AddExtension(cert, signer, NID_basic_constraints,
               names.empty() ? "critical,CA:TRUE" : "critical,CA:FALSE");
  if (!names.empty()) AddExtension(cert, signer, NID_subject_alt_name, names);
  X509_sign(cert, issuer != nullptr ? issuer->key.get() : made.key.get(), EVP_sha256());
  return made;
}

inline void WritePem(const Cert& cert, const std::string& path) {
  BIO* const file = BIO_new_file(path.c_str(), "w");
  PTG_CHECK(file != nullptr);
  PEM_write_bio_X509(file, cert.get());
  BIO_free(file);
}

inline void WritePem(const Key& key, const std::string& path) {
  BIO* const file = BIO_new_file(path.c_str(), "w");
  PTG_CHECK(file != nullptr);
  PEM_write_bio_PrivateKey(file, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  BIO_free(file);
}

}  // namespace pontage::net::testing
