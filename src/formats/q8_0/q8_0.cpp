// Q8_0 encoder. Layout: q8_0.h.
#include "formats/q8_0/q8_0.h"

#include "base/check.h"

namespace invar::q8_0 {

void encode(const float*, const float*, Block&) { CHECK(false, "the encoder is not written yet"); }

}  // namespace invar::q8_0
