#include "testing/fuzz.h"
#include "wire/x402/payment_law_fuzz.h"

// A PAYMENT-SIGNATURE is taken when a naive look at its shape says so, and only then; what is
// taken is what was sent.
FUZZ_TARGET(payment_v2) { pontage::x402::CheckPaymentHeader(input, 2); }
