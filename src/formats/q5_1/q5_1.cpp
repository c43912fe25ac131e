// Q5_1 encoder. Layout: q5_1.h.
#include "formats/q5_1/q5_1.h"

#include "base/check.h"

namespace invar::q5_1 {

void encode(const float*, const float*, Block&) { CHECK(false, "the encoder is not written yet"); }

}  // namespace invar::q5_1
