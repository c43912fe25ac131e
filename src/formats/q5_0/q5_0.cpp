// Q5_0 encoder. Layout: q5_0.h.
#include "formats/q5_0/q5_0.h"

#include "base/check.h"

namespace invar::q5_0 {

void encode(const float*, const float*, Block&) { CHECK(false, "the encoder is not written yet"); }

}  // namespace invar::q5_0
