// Q6_K encoder. Layout: q6_k.h.
#include "formats/q6_k/q6_k.h"

#include "base/check.h"

namespace invar::q6_k {

void encode(const float*, const float*, Block&) { CHECK(false, "the encoder is not written yet"); }

}  // namespace invar::q6_k
