// Writes a model directory of a named real shape with random weights, in every dialect of published checkpoints: names,
// prefixes, dtypes, shards, ignore lists and configs are as their writers have them. It serves tests and measurements
// without a download. The dialects: synth_scheme.h; docs/checkpoints.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "make/synth.h"

namespace invar {

inline constexpr uint64_t kSynthShardBytes = 4'000'000'000;

// True for the names of directory_formats().
bool is_directory_format(std::string_view format);

// The bytes are a function of (shape, options, shard_bytes); options.mix is the format. A model of more than
// `shard_bytes` is cut into shards with an index. Returns the bytes of all files. Errors, after which nothing is left:
// an unknown format, more layers than the shape has, `out` exists, no space, stopped.
Result<int64_t> synthesize_directory(const SynthShape& shape, const SynthOptions& options,
                                     const std::filesystem::path& out, const SynthProgress& progress,
                                     uint64_t shard_bytes = kSynthShardBytes);

}  // namespace invar
