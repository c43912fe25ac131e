// Writes a model of a named real shape with random weights, in seconds, so that speed and memory can be measured
// without a download. Blocks are made by the formats' own encoders from normally distributed weights (sigma 0.02) and
// drawn from a pool; the text of such a model is noise. The mix determines the tensors' formats (quantize_mixes.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace invar {

struct SynthShape {
    std::string_view name;          // "qwen3-4b"
    std::string_view architecture;  // in a GGUF file
    std::string_view family;        // model_type in a config.json
    int layers = 0;
    int64_t width = 0;
    int heads = 0, kv_heads = 0, head_width = 0;
    int64_t ffn_width = 0;
    int64_t vocabulary = 0;
    bool tied = false;  // the head is the embedding
    int experts = 0, experts_per_token = 0;
    int64_t expert_width = 0;
    float rope_base = 0;
    int64_t context = 0;
    // Gemma 4: of layers that see all positions; the others see `window` (synth_gemma4.h).
    int full_head_width = 0, full_kv_heads = 0, window = 0;

    bool is_gemma4() const { return architecture == "gemma4"; }
    int64_t weights(int with_layers) const;
};
// The shapes come from the published configurations of these models.
std::span<const SynthShape> synth_shapes();
// Errors list the shapes there are.
Result<const SynthShape*> find_synth_shape(std::string_view name);

struct SynthOptions {
    std::string mix = "q4_k_m";  // for a GGUF file; a directory's format: synth_directory.h
    int layers = 0;              // 0: all of the shape's
    uint64_t seed = 1;
};
// How many layers are written. Fails if that is more than the shape has.
Result<int> synth_layers(const SynthShape& shape, const SynthOptions& options);

// Called with the bytes written and of all. If it returns false, writing stops and no file appears.
using SynthProgress = std::function<bool(int64_t done, int64_t total)>;

// The bytes are a function of (shape, options). Returns the size of the file. Errors: an unknown mix, more layers than
// the shape has, no space, stopped.
Result<int64_t> synthesize(const SynthShape& shape, const SynthOptions& options, const std::filesystem::path& out,
                           const SynthProgress& progress);

}  // namespace invar
