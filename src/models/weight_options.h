// What a list of weights says of each weight beside its names and its shape: how each container may hold it.
// decoder_weights.h and attention_weights.h are such lists.
//
// A visitor of a list has
//   vector(WeightVector& or std::optional<WeightVector>&, WeightNames, size, VectorOptions)
//   matrix(WeightMatrix&, WeightNames, rows, columns, MatrixOptions)
//   stack(WeightStack&, WeightNames, {experts, rows, columns}, MatrixOptions)
#pragma once

#include <string_view>
#include <vector>

#include "models/decoder.h"

namespace invar {

enum class Need : uint8_t { wanted, if_present, never };

// Another tensor that may hold a weight, as older files or other writers have it.
struct OtherTensor {
    Dialect dialect;
    std::string_view tensor;
    HeldAs as = {};
};

struct VectorOptions {
    Need need = Need::wanted;
    HeldAs gguf = {};                      // how a GGUF file holds it; Mistral's own layout has the same order
    HeldAs hugging_face = {};              // how Hugging Face's files hold it
    std::vector<OtherTensor> others = {};  // tried in this order where its own tensor is absent
};

struct MatrixOptions {
    HeldAs gguf = {};  // as in VectorOptions
    HeldAs hugging_face = {};
    // Tensors whose rows hold those of this one from fused_row on; "": there is none.
    std::string_view gguf_fused = {}, hugging_face_fused = {};
    int64_t fused_row = 0;
    int64_t head_width = 0;  // its rows belong to heads of so many
    enum class Use : uint8_t { product, table /* rows are looked up */, logits } use = Use::product;
    std::string_view alias_of = {};        // a role: where this tensor is absent, its storage is that one's
    std::vector<OtherTensor> others = {};  // tried in this order where there is neither its own tensor nor a fused one
};

// How the norms of the residual stream are held: their weights may be stored less one.
inline VectorOptions norm_options(const DecoderTraits& traits, Need need = Need::wanted) {
    return {need, {}, {.law = traits.norms_less_one ? VectorLaw::plus_one : VectorLaw::as_stored}};
}

}  // namespace invar
