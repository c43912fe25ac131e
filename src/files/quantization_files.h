// Where a model directory says how its weights are quantised: an object in config.json, and for ModelOpt the file
// hf_quant_config.json as well. Decides where the object stands and that the two do not contradict each other. What an
// algorithm's tensors are called is decided in checkpoint/, from the tensors that are there.
#pragma once

#include <string>

#include "base/json_fwd.h"
#include "base/result.h"

namespace invar {

// quantization_config or compression_config of the config or of its text_config; null where there is none. Errors name
// `file` and the key: no object, or two that differ.
Result<const Json*> find_quantization_config(const Json& config, const std::string& file);

// `hf_quant` is the object `quantization` of hf_quant_config.json. Errors name both files and both values: the config
// is of another method than ModelOpt's, or algorithm, group size or a module's algorithm differ.
Result<void> check_agreement(const Json& config, const std::string& config_file, const Json& hf_quant,
                             const std::string& hf_quant_file);

}  // namespace invar
