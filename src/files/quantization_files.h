// Where a model directory declares how its weights are quantised: in an object of config.json, and for ModelOpt in
// hf_quant_config.json as well. This decides where the object is and that the two do not contradict each other.
// checkpoint/ derives the names of an algorithm's tensors from the tensors that are there.
#pragma once

#include <string>

#include "base/json_fwd.h"
#include "base/result.h"

namespace invar {

// Finds quantization_config or compression_config in the config or in its text_config; null if there is none. Errors
// name `file` and the key: not an object, or two that differ.
Result<const Json*> find_quantization_config(const Json& config, const std::string& file);

// `hf_quant` is the object `quantization` of hf_quant_config.json. Errors name both files and both values: the config
// has another method than ModelOpt's, or algorithm, group size or a module's algorithm differ.
Result<void> check_agreement(const Json& config, const std::string& config_file, const Json& hf_quant,
                             const std::string& hf_quant_file);

}  // namespace invar
