// Writes a model directory of a named real shape with random weights, in every dialect of published checkpoints: names,
// prefixes, dtypes, shards, ignore lists and configs are as their writers have them. It serves tests and measurements
// without a download. The dialects: synth_scheme.h; docs/checkpoints.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "make/synth.h"
#include "make/synth_headers.h"
#include "make/synth_layers.h"

namespace invar {

inline constexpr uint64_t kSynthShardBytes = 4'000'000'000;

// True for the names of directory_formats().
bool is_directory_format(std::string_view format);

// The bytes are a function of (shape, options, shard_bytes); options.mix is the format. A model of more than
// `shard_bytes` is cut into shards with an index. Returns the bytes of all files. Errors, after which nothing is left:
// an unknown format or one that no such model has, more layers than the shape has, `out` exists, no space, stopped.
Result<int64_t> synthesize_directory(const ShapeDocument& shape, const SynthOptions& options,
                                     const std::filesystem::path& out, const SynthProgress& progress,
                                     uint64_t shard_bytes = kSynthShardBytes);

// What such a directory holds: the tensors, and the configs that describe them.
struct SynthDirectory {
    SynthModel model;
    std::vector<NamedText> configs;  // config.json, and hf_quant_config.json where the dialect has it
};
Result<SynthDirectory> synth_directory(const ShapeDocument& shape, const SynthOptions& options);

// Wider elements come first, so that every tensor is aligned to its elements.
void widest_first(std::vector<const SynthDirectoryTensor*>& tensors);
// The bytes of a tensor that is not drawn from a pool.
std::vector<std::byte> small_tensor(const SynthDirectoryTensor& tensor);

}  // namespace invar
