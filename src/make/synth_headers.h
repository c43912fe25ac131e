// A model in memory whose weights nobody made: its headers and small tensors are as synth writes them, and its weights
// read as zeros that take no memory. What needs headers only, such as a plan, takes it for a model of that size.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/sparse_memory.h"
#include "files/checkpoint.h"
#include "files/safetensors_stream.h"
#include "make/synth.h"

namespace invar {

struct ModelInMemory {
    std::vector<std::unique_ptr<const std::string>> texts;  // of the files beside the weights
    SparseMemory weights;
    Checkpoint checkpoint;  // of the bytes above
};

using NamedText = std::pair<std::string, std::string>;  // a file's name and content

// A model directory of these files and of one SafeTensors file. `fill` writes the bytes of a tensor, or nothing.
Result<ModelInMemory> directory_in_memory(std::string name, std::vector<NamedText> files,
                                          std::span<const SafeTensorsDeclaration> tensors,
                                          const std::function<void(size_t tensor, std::span<std::byte> bytes)>& fill);

// What synth would write, in either container. Errors are those of synthesize().
Result<ModelInMemory> synthesize_headers(const ShapeDocument& shape, const SynthOptions& options);

}  // namespace invar
