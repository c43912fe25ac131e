// The shapes that synth knows, from the published configurations of these models.
#include <fmt/format.h>

#include <array>

#include "make/synth.h"

namespace invar {
namespace {

constexpr std::array<SynthShape, 19> kShapes = {{
    {"qwen3-0.6b", "qwen3", "qwen3", 28, 1024, 16, 8, 128, 3072, 151936, true, 0, 0, 0, 1e6f, 40960},
    {"qwen3-1.7b", "qwen3", "qwen3", 28, 2048, 16, 8, 128, 6144, 151936, true, 0, 0, 0, 1e6f, 40960},
    {"qwen3-4b", "qwen3", "qwen3", 36, 2560, 32, 8, 128, 9728, 151936, true, 0, 0, 0, 1e6f, 40960},
    {"qwen3-8b", "qwen3", "qwen3", 36, 4096, 32, 8, 128, 12288, 151936, false, 0, 0, 0, 1e6f, 40960},
    {"qwen3-14b", "qwen3", "qwen3", 40, 5120, 40, 8, 128, 17408, 151936, false, 0, 0, 0, 1e6f, 40960},
    {"qwen2.5-7b", "qwen2", "qwen2", 28, 3584, 28, 4, 128, 18944, 152064, false, 0, 0, 0, 1e6f, 32768},
    {"llama-3.2-1b", "llama", "llama", 16, 2048, 32, 8, 64, 8192, 128256, true, 0, 0, 0, 5e5f, 131072},
    {"llama-3.1-8b", "llama", "llama", 32, 4096, 32, 8, 128, 14336, 128256, false, 0, 0, 0, 5e5f, 131072},
    {"mistral-7b", "llama", "mistral", 32, 4096, 32, 8, 128, 14336, 32768, false, 0, 0, 0, 1e6f, 32768},
    {"llama-3.3-70b", "llama", "llama", 80, 8192, 64, 8, 128, 28672, 128256, false, 0, 0, 0, 5e5f, 131072},
    {"qwen3-30b-a3b", "qwen3moe", "qwen3_moe", 48, 2048, 32, 4, 128, 6144, 151936, false, 128, 8, 768, 1e6f, 40960},
    {"qwen3-coder-30b-a3b", "qwen3moe", "qwen3_moe", 48, 2048, 32, 4, 128, 5472, 151936, false, 128, 8, 768, 1e7f,
     262144},
    {"mistral-small-3.2-24b", "llama", "mistral3", 40, 5120, 32, 8, 128, 32768, 131072, false, 0, 0, 0, 1e9f, 131072},
    {"mixtral-8x7b", "llama", "mixtral", 32, 4096, 32, 8, 128, 14336, 32000, false, 8, 2, 14336, 1e6f, 32768},
    {"gemma-4-26b-a4b", "gemma4", "gemma4_text", 30, 2816, 16, 8, 256, 2112, 262144, true, 128, 8, 704, 1e6f, 262144,
     512, 2, 1024},
    // Not published models: these are small enough to run under an instruction counter (tools/instruction_counts.py).
    {"tiny", "qwen3", "qwen3", 1, 512, 8, 2, 64, 2048, 512, false, 0, 0, 0, 1e6f, 4096},
    // No width is a multiple of 128: blocks of FP8 end inside.
    {"tiny-ragged", "qwen3", "qwen3", 1, 576, 5, 1, 64, 1088, 512, false, 0, 0, 0, 1e6f, 4096},
    {"tiny-moe", "qwen3moe", "qwen3_moe", 1, 512, 8, 2, 64, 2048, 512, false, 16, 4, 512, 1e6f, 4096},
    {"tiny-gemma4", "gemma4", "gemma4_text", 3, 512, 8, 2, 64, 1024, 512, true, 16, 4, 512, 1e6f, 4096, 128, 1, 64},
}};

}  // namespace

std::span<const SynthShape> synth_shapes() { return kShapes; }

Result<const SynthShape*> find_synth_shape(std::string_view name) {
    std::string names;
    for (const SynthShape& shape : kShapes) {
        if (shape.name == name) return &shape;
        names += fmt::format("{}{}", names.empty() ? "" : ", ", shape.name);
    }
    return fail("shape '{}' is not known; choose one of {}", name, names);
}

}  // namespace invar
