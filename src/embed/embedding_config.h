// How a checkpoint makes a vector of a text: which rows it pools and how, the linear layers and norms behind, how many
// tokens it takes, and the prompts that it was trained with. It is read from modules.json and the configs of its
// modules, or from GGUF's pooling_type. A mode, module, key or value without a law here is refused by name; a
// checkpoint that says nothing has no modes, and the caller must be told.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "arithmetic/pooling.h"
#include "base/result.h"
#include "embed/dense_tensors.h"
#include "files/checkpoint.h"

namespace invar {

enum class DenseActivation : uint8_t { identity, tanh };
struct DenseStep {
    DenseTensors tensors;
    DenseActivation activation = DenseActivation::identity;
};
struct UnitLengthStep {};
using EmbeddingStep = std::variant<DenseStep, UnitLengthStep>;

struct EmbeddingPrompt {
    std::string name, text;
};

struct EmbeddingConfig {
    std::vector<Pooling> pooling;      // their results stand one behind the other; empty: the checkpoint does not say
    std::string source;                // what said so: "1_Pooling/config.json", "bert.pooling_type"
    std::vector<EmbeddingStep> steps;  // behind pooling, in this order
    int64_t most_tokens = 0;           // of a text, with its special tokens; 0: as many as the model can
    std::vector<EmbeddingPrompt> prompts;  // texts that stand in front of a text
    std::string default_prompt;            // the name of the one that is used where none is asked for; "": none
    bool pools_prompt = true;              // false: the rows of a prompt are left out, which is not computed

    bool has_unit_length() const;
    // "mean of the tokens, a dense layer to 768 with tanh, length 1"
    std::string description() const;
};

// `width`: the elements of a row. Errors name file, key and value.
Result<EmbeddingConfig> read_embedding_config(const Checkpoint& checkpoint, int64_t width);

// Fails if a dense layer does not take what the step before it makes. `name`: the checkpoint's.
Result<void> check_embedding_sizes(const EmbeddingConfig& config, int64_t width, const std::string& name);
// The elements of a vector behind all steps.
int64_t vector_size(const EmbeddingConfig& config, int64_t width);

}  // namespace invar
