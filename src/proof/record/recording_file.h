// A recording as a SafeTensors file, which NumPy and PyTorch open: one tensor a stage, named to_string(StageKey), shape
// [positions, shape...], F32, F64 or I32. What is no tensor is in the metadata strings:
//   recording              "1", the version of this list
//   tokens                 JSON list: tokens[p] is at position p
//   stages                 JSON list in forward order: {"name", "verb", "kernel"}, with "type" and "shape" where only
//                          statistics were kept (a SafeTensors header has no order of its own)
//   positions:STAGE        JSON list, where a stage does not cover positions 0 .. n-1
//   elements:STAGE         {"shape": [...], "indices": [...]}, where only those elements of a position are stored
//   any other key          Recording::metadata: model, model_hash, arithmetic, backend, threads, chunk, ...
// In the statistics-only mode a stage has the tensors statistics:STAGE, F64 [positions, 5]: least, greatest, mean, rms,
// count of non-finite values, and hash:STAGE, U8 [positions, 16]: XXH3-128 of the values' bits, most significant first.
// Recordings of other engines need none of the metadata: stages are then ordered by their names (sort_by_names), and
// F16 and BF16 are widened, whole numbers narrowed where they fit. tools/record_transformers.py writes the same.
#pragma once

#include <filesystem>

#include "files/safetensors.h"
#include "proof/record/recording.h"

namespace invar {

// Errors: a metadata key of the list above, two stages of one name, or a file that cannot be written.
Result<void> save_recording(const Recording& recording, const std::filesystem::path& path);

Result<Recording> load_recording(const std::filesystem::path& path);
// Every tensor becomes a stage or the load fails, in one sentence that names the file and the stage.
Result<Recording> recording_of(const SafeTensorsFile& file);

}  // namespace invar
