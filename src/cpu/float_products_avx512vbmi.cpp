// Products of float weights for one instruction set; the code is in float_products_body.h.
#include "cpu/float_weights_avx512.h"
//
#include "cpu/float_products_body.h"

namespace invar {

void float_product_avx512_vbmi(const LinearTask& task) { multiply_floats(task); }

}  // namespace invar
