// Q5_K encoder. Layout: q5_k.h.
#include "formats/q5_k/q5_k.h"

#include "base/check.h"

namespace invar::q5_k {

void encode(const float*, const float*, Block&) { CHECK(false, "the encoder is not written yet"); }

}  // namespace invar::q5_k
