// Q2_K encoder. Layout: q2_k.h.
#include "formats/q2_k/q2_k.h"

#include "base/check.h"

namespace invar::q2_k {

void encode(const float*, const float*, Block&) { CHECK(false, "the encoder is not written yet"); }

}  // namespace invar::q2_k
