// Describes the contents of a model file as JSON: metadata with long arrays and texts abbreviated, every tensor, totals
// by format. It reads headers only. Printing, and the meaning of tokenizer and template, belong to src/app.
#pragma once

#include <cstdint>

#include "base/json_fwd.h"
#include "files/checkpoint.h"
#include "files/gguf.h"

namespace invar {

struct InspectOptions {
    uint64_t array_elements = 8;  // how many are shown of each array
    uint64_t text_bytes = 160;    // how many are shown of each text
};

// {"file", "parts": [path], "version", "alignment", "file_bytes", "tensor_bytes", "weights",
//  "metadata": [{"key", "type", "value", and "count" for arrays, "bytes" for texts that were cut}],
//  "tensors":  [{"name", "format", "shape", "weights", "bytes", "part", "offset"}],
//  "formats":  [{"format", "tensors", "weights", "bytes"}]}, in the order of the file; formats in the order of the
//  table.
// Non-finite numbers become the texts "nan", "inf", "-inf"; texts that are not UTF-8 are shown with \xNN.
Json inspect(const GgufFile& file, const InspectOptions& options = {});

// For a GGUF file the same. For a directory {"file", "parts", "file_bytes", "tensor_bytes", "config": config.json,
// "side_files": [name], "tensors": [{"name", "dtype", "shape", "bytes", "part", "offset"}], "dtypes": [{"dtype",
// "tensors", "bytes"}]}.
Json inspect(const Checkpoint& checkpoint, const InspectOptions& options = {});

}  // namespace invar
