// Reads the config of the decoder families here, whatever the dialect (hyperparameters.h). A number that gives meaning
// to the weights is read, or the checkpoint is refused. One number is inferred: the width of a head, in files written
// before its key existed, is taken from a tensor's shape, cross-checked, and noted.
#pragma once

#include <initializer_list>
#include <string_view>
#include <vector>

#include "files/checkpoint.h"
#include "models/config.h"
#include "models/config_json.h"
#include "models/hyperparameters.h"

namespace invar {

// What a family reads by itself, so that it is not refused here.
struct FamilyRules {
    KeyList computed = {};           // keys of config.json that most architectures leave out and this one reads
    bool query_temperature = false;  // the scale of queries by position
    bool yarn_scale = false;         // what multiplies YaRN's cosines and sines
};

Result<ModelConfig> read_decoder_config(const Checkpoint& checkpoint, std::string_view architecture,
                                        const FamilyRules& rules = {});
// Fails if the config has a mixture of experts.
Result<ModelConfig> read_dense_config(const Checkpoint& checkpoint, std::string_view architecture,
                                      const FamilyRules& rules = {});

bool is_gguf(const Hyperparameters& keys);
// The numbers of a tensor [pairs] of a GGUF file.
Result<std::vector<float>> read_rope_factors(const Hyperparameters& keys, std::string_view name, int64_t pairs,
                                             ModelConfig& config);
// Fails unless a GGUF file names one of these laws for its router, or none; config.json has a word for other families.
Result<void> check_router_law(const Hyperparameters& keys, std::initializer_list<int64_t> laws);

}  // namespace invar
