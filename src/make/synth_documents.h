// The JSON files of a synthetic directory: config.json and generation_config.json as published models of the shape have
// them, and a byte-level tokenizer of our own making, so that any prompt has tokens.
#pragma once

#include <string>

#include "base/json_fwd.h"
#include "make/synth.h"

namespace invar {

// Layers of Mistral-Small's vision tower, which has fewer than the text model.
inline int synth_vision_layers(int layers) { return layers < 24 ? layers : 24; }

// `dtype`: "bfloat16". `quantization`: the object quantization_config, or null.
Json synth_config(const SynthShape& shape, int layers, const std::string& dtype, const Json& quantization);
Json synth_generation_config(const SynthShape& shape);
// tokenizer.json and tokenizer_config.json, the chat template in the latter unless the shape is Mistral's, which has
// it in chat_template.jinja.
std::string synth_tokenizer(const SynthShape& shape);
Json synth_tokenizer_config(const SynthShape& shape);
std::string synth_chat_template();

}  // namespace invar
