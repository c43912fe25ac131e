// Writes the metadata keys that describe a model to readers of a GGUF file, for every architecture that is read from a
// directory. No family is listed: gguf_quantities.h says what a GGUF file can say of a model; of that, the keys that
// the architecture's own reader of GGUF files asks for are written, and a few that other programs need. Then the keys
// are read again, and the model that they describe must be the one that was given, number by number.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "files/checkpoint.h"
#include "files/gguf_writer.h"
#include "files/tensor_info.h"
#include "models/config.h"

namespace invar {

// Tensors that hold numbers of the config: factors of rope's frequencies.
struct ComputedTensor {
    std::string name;
    std::vector<float> numbers;
};
std::vector<ComputedTensor> gguf_rope_tensors(const ModelConfig& config);

// `config` was read from `directory`; its name in errors is that of the directory. `tensors` are those of the file to
// be written, under GGUF's names, without gguf_rope_tensors(); only names and shapes matter. Returns notes on numbers
// that the file holds in binary32 and the config more exactly. Errors: the first number that a GGUF file of this
// architecture cannot say, with what it would say instead, or why its reader refuses the file.
Result<std::vector<std::string>> write_gguf_hyperparameters(const Checkpoint& directory, const ModelConfig& config,
                                                            std::span<const TensorInfo> tensors, GgufWriter& writer);

}  // namespace invar
