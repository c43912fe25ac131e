// The JSON files of a synthetic directory: the shape's config.json and generation_config.json, and our own byte-level
// tokenizer, with which any prompt has tokens.
#pragma once

#include <string>
#include <vector>

#include "make/shape_document.h"

namespace invar {

// The 256 characters that stand for bytes in byte-level BPE.
std::vector<std::string> byte_characters();
// `dtype`: "bfloat16". `quantization`: the object quantization_config, or null.
Json synth_config(const ShapeDocument& shape, const std::string& dtype, const Json& quantization);
Json synth_generation_config(const ShapeDocument& shape);
// Writes tokenizer.json and tokenizer_config.json. The latter has the chat template, except for shapes of models
// that also see, whose template is in chat_template.jinja.
std::string synth_tokenizer(const ShapeDocument& shape);
Json synth_tokenizer_config(const ShapeDocument& shape);
std::string synth_chat_template();

}  // namespace invar
