// Writes a model (a GGUF file or a directory) as a GGUF file in other formats. It chooses each tensor's format by a mix
// (quantize_mixes.h), encodes rows on several threads, measures the loss, and writes the file atomically. The bytes
// written depend on the input and the mix alone, not on the number of threads. Each format's encoder chooses scales
// (formats/).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "base/result.h"
#include "files/checkpoint.h"
#include "files/gguf.h"
#include "make/quantize_mixes.h"

namespace invar {

struct QuantizeOptions {
    std::string mix = "q4_k_m";
    // Allows input tensors that are quantised already. They lose accuracy twice, so they are refused otherwise.
    bool allow_requantize = false;
    bool vocabulary = true;  // of a directory: its tokenizer is written
    int threads = 0;         // 0: one for each hardware thread
};

struct QuantizedTensor {
    std::string name;
    std::vector<int64_t> shape;  // outermost first
    const Format* source = nullptr;
    const Format* wanted = nullptr;  // chosen by the mix
    const Format* target = nullptr;  // written; another than wanted if the block does not divide the columns
    uint64_t source_bytes = 0;
    uint64_t bytes = 0;
    size_t index = 0;  // of the source's tensors
    // sqrt(sum (written - source)^2 / sum source^2) over the tensor; 0 for a copy.
    double relative_rms_error = 0.0;
};

struct QuantizeReport {
    std::string mix;
    std::vector<QuantizedTensor> tensors;
    uint64_t weights = 0;
    uint64_t source_bytes = 0;       // of tensors
    uint64_t bytes = 0;              // of tensors
    uint64_t file_bytes = 0;         // of the file written
    int fallbacks = 0;               // tensors whose target is not the wanted format
    std::vector<std::string> notes;  // what the directory's tokenizer says and a GGUF file cannot

    double bits_per_weight() const;
};
Json quantize_report_as_json(const QuantizeReport& report);

struct QuantizeProgress {
    const QuantizedTensor& tensor;  // being written
    size_t index;                   // of it
    size_t tensors;                 // in all
    uint64_t source_bytes_done;     // of all tensors
    uint64_t source_bytes;
};
// Called on the caller's thread. If it returns false, no file is written and quantize() returns an error.
using QuantizeProgressCallback = std::function<bool(const QuantizeProgress&)>;

// Reports what quantize() would do, without reading a weight: formats and sizes, errors 0. Refuses what quantize()
// refuses.
Result<QuantizeReport> plan_quantize(const GgufFile& in, const QuantizeOptions& options);
Result<QuantizeReport> plan_quantize(const Checkpoint& in, const QuantizeOptions& options);

// Errors: an unknown mix; input that is quantised already; a NaN, an infinity, or a magnitude that F16 cannot hold,
// with its tensor, row and column; an output that is part of the input; too little space; writing failed.
Result<QuantizeReport> quantize(const GgufFile& in, const QuantizeOptions& options, const std::filesystem::path& out,
                                const QuantizeProgressCallback& progress = {});
// The same for a GGUF file or a model directory; a directory gets GGUF's names, keys and order of rows (gguf_source.h).
Result<QuantizeReport> quantize(const Checkpoint& in, const QuantizeOptions& options, const std::filesystem::path& out,
                                const QuantizeProgressCallback& progress = {});

}  // namespace invar
