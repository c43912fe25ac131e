// Writes a model of a named real shape with random weights, in seconds, so that speed and memory can be measured
// without a download. A shape is a document (shape_document.h); the family's own list of weights says which tensors
// there are. Blocks are made by the formats' own encoders from normally distributed weights (sigma 0.02) and drawn from
// a pool; the text of such a model is noise. The mix determines the tensors' formats (quantize_mixes.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "files/gguf_writer.h"
#include "make/shape_document.h"

namespace invar {

struct SynthOptions {
    std::string mix = "q4_k_m";  // for a GGUF file; a directory's format: synth_directory.h
    int layers = 0;              // 0: all of the shape's
    uint64_t seed = 1;
};

// How many weights a model of this shape has.
Result<int64_t> weights_of(const ShapeDocument& shape);

// Called with the bytes written and of all. If it returns false, writing stops and no file appears.
using SynthProgress = std::function<bool(int64_t done, int64_t total)>;

// The bytes are a function of (shape, options). Returns the size of the file. Errors: an unknown mix, more layers than
// the shape has, no space, stopped.
Result<int64_t> synthesize(const ShapeDocument& shape, const SynthOptions& options, const std::filesystem::path& out,
                           const SynthProgress& progress);

// A tensor of such a file, and its numbers if they are not drawn from a pool.
struct SynthTensor {
    std::string name;
    std::vector<int64_t> shape;  // outermost first
    const Format* format = nullptr;
    std::vector<float> numbers;

    int64_t bytes() const;
};
// The tensors, and the writer with metadata and tensors declared.
struct SynthFile {
    std::vector<SynthTensor> tensors;
    GgufWriter writer;
};
Result<SynthFile> synth_file(const ShapeDocument& shape, const SynthOptions& options);

}  // namespace invar
