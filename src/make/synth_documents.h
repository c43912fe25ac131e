// The JSON files of a synthetic directory: config.json and generation_config.json as published models of the shape have
// them, and our own byte-level tokenizer, with which any prompt has tokens.
#pragma once

#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "make/synth.h"

namespace invar {

// Layers of Mistral-Small's vision tower, which has fewer than the text model.
inline int synth_vision_layers(int layers) { return layers < 24 ? layers : 24; }

// The 256 characters that stand for bytes in byte-level BPE.
std::vector<std::string> byte_characters();
// `dtype`: "bfloat16". `quantization`: the object quantization_config, or null.
Json synth_config(const SynthShape& shape, int layers, const std::string& dtype, const Json& quantization);
Json synth_generation_config(const SynthShape& shape);
// Writes tokenizer.json and tokenizer_config.json. The latter has the chat template, except for Mistral's shape, whose
// template is in chat_template.jinja.
std::string synth_tokenizer(const SynthShape& shape);
Json synth_tokenizer_config(const SynthShape& shape);
std::string synth_chat_template();

}  // namespace invar
