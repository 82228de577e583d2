#include "testing/fuzz.h"
#include "wire/x402/payment_law_fuzz.h"

// An X-PAYMENT is taken when a naive look at its shape says so, and only then; what is
// taken is what was sent.
FUZZ_TARGET(payment_v1) { pontage::x402::CheckPaymentHeader(input, 1); }
