// Decides which format each tensor of a model gets under the mixes that users know by name (q4_k_m and so on). It is a
// table and the rule that reads it: a pure function of names and shapes. quantize.h applies it; docs/gguf.md describes
// it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "files/tensor_info.h"

namespace invar {

// The purpose of a tensor as far as mixes care. It follows from the name alone: a mix knows no architecture.
enum class MixRole : uint8_t {
    kept,  // vectors, norms, routers and small convolutions: always F32
    token_embedding,
    output,  // the head; also the token embedding of a model without a head of its own (tied)
    attention_query,
    attention_key,
    attention_value,
    attention_output,
    ffn_gate,
    ffn_up,
    ffn_down,  // dense or experts alike
    other,     // further matrices: the mix's base format
};

// The layers or models to which a row of the table applies.
enum class MixWhen : uint8_t {
    always,
    first_eighth,
    first_sixteenth,
    first_two,
    first_four,
    more_bits,        // the first eighth, the last eighth, and every third layer between
    grouped_by_four,  // at least four query heads share a value head, so that attention_value is small
    is_expert,        // a stack of experts, or a dense feed-forward matrix of a model that has no experts
};

struct MixRow {
    MixRole role;
    MixWhen when;
    FormatId format;
};

struct Mix {
    std::string_view name;         // "q4_k_m"
    FormatId base;                 // for matrices to which no row applies
    uint32_t file_type;            // general.file_type, the number llama.cpp gives to this mix
    std::span<const MixRow> rows;  // the first that fits decides
    std::string_view summary;      // the rows in words, for `--help` and docs
    bool as_stored = false;        // matrices keep the format that they have, if GGUF has it; else `base`
};

std::span<const Mix> mixes();
// Errors name the mix and list those there are.
Result<const Mix*> find_mix(std::string_view name);

// The facts about a model that the rules need; they follow from names and shapes.
struct MixModel {
    int layers = 0;
    bool has_output = false;  // false: tied embeddings
    bool has_experts = false;
    double query_group = 1.0;  // query rows over value rows of the first attention layer
};
MixModel describe_for_mix(std::span<const TensorInfo> tensors);

MixRole role_of(const TensorInfo& tensor, const MixModel& model);

struct MixChoice {
    MixRole role = MixRole::kept;
    const Format* wanted = nullptr;  // by the table
    const Format* chosen = nullptr;  // wanted, or the next format whose block divides the columns
};
MixChoice choose_format(const Mix& mix, const TensorInfo& tensor, const MixModel& model);

// The format to use if columns are no multiple of the block: q2_k, q3_k -> q4_0; q4_k -> q5_0; q5_k -> q5_1; q6_k ->
// q8_0; iq4_xs -> iq4_nl; nvfp4 -> mxfp4; every other -> f16.
const Format& next_format(const Format& format);

}  // namespace invar
