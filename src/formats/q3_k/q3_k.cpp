// Q3_K encoder. Layout: q3_k.h.
#include "formats/q3_k/q3_k.h"

#include "base/check.h"

namespace invar::q3_k {

void encode(const float*, const float*, Block&) { CHECK(false, "the encoder is not written yet"); }

}  // namespace invar::q3_k
