// Stores a recording as a SafeTensors file, which NumPy and PyTorch open. Each stage is a tensor named
// to_string(StageKey) with shape [positions, shape...], F32, F64 or I32. Everything else is in the metadata strings:
//   recording              "1", the version of this list
//   tokens                 JSON list: tokens[p] is at position p
//   stages                 JSON list in forward order: {"name", "verb", "kernel"}, with "type" and "shape" if only
//                          statistics were kept (a SafeTensors header has no order of its own)
//   positions:STAGE        JSON list, if a stage does not cover positions 0 .. n-1
//   elements:STAGE         {"shape": [...], "indices": [...]}, if only those elements of a position are stored
//   any other key          Recording::metadata: model, model_hash, arithmetic, backend, threads, chunk, ...
// In the statistics-only mode, each stage has two tensors instead. statistics:STAGE, F64 [positions, 5], holds least,
// greatest, mean, rms and the count of non-finite values. hash:STAGE, U8 [positions, 16], holds the XXH3-128 of the
// values' bits, most significant byte first. Recordings of other engines need no metadata: their stages are ordered by
// name (sort_by_names), F16 and BF16 are widened, and whole numbers are narrowed if they fit.
// tools/record_transformers.py writes such files.
#pragma once

#include <filesystem>

#include "files/safetensors.h"
#include "proof/record/recording.h"

namespace invar {

// Errors: a metadata key of the list above, two stages of one name, or a file that cannot be written.
Result<void> save_recording(const Recording& recording, const std::filesystem::path& path);

Result<Recording> load_recording(const std::filesystem::path& path);
// Every tensor becomes a stage, or the load fails with one sentence that names the file and the stage.
Result<Recording> recording_of(const SafeTensorsFile& file);

}  // namespace invar
