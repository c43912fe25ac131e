// What a model file says of itself, as JSON: metadata with long arrays and texts abbreviated, every tensor, totals by
// format. Headers only: no tensor byte is read. How it is printed, and what tokenizer or template mean, is src/app's.
#pragma once

#include <cstdint>

#include "base/json_fwd.h"
#include "files/gguf.h"

namespace invar {

struct InspectOptions {
    uint64_t array_elements = 8;  // shown of each array
    uint64_t text_bytes = 160;    // shown of each text
};

// {"file", "parts": [path], "version", "alignment", "file_bytes", "tensor_bytes", "weights",
//  "metadata": [{"key", "type", "value", and "count" for arrays, "bytes" for texts that were cut}],
//  "tensors":  [{"name", "format", "shape", "weights", "bytes", "part", "offset"}],
//  "formats":  [{"format", "tensors", "weights", "bytes"}]}, in the order of the file; formats in the order of the
//  table.
// Non-finite numbers become the texts "nan", "inf", "-inf"; texts that are not UTF-8 are shown with \xNN.
Json inspect(const GgufFile& file, const InspectOptions& options = {});

}  // namespace invar
