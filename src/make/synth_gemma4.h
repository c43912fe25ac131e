// What synth writes for Gemma 4 with experts: layers of two geometries, norms around a dense part and experts, and the
// numbers of both containers.
#pragma once

#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "files/gguf_writer.h"
#include "make/synth.h"

namespace invar {

// Every sixth layer sees all positions, and the last one that is written does.
bool gemma4_slides(int layer, int layers);
int64_t gemma4_head_width(const SynthShape& shape, bool slides);
int64_t gemma4_kv_heads(const SynthShape& shape, bool slides);

struct SynthNamedShape {
    std::string name;
    std::vector<int64_t> shape;  // outermost first
};
// Of a GGUF file, in the order of the model.
std::vector<SynthNamedShape> gemma4_tensors(const SynthShape& shape, int layers);
// Adds the keys that only this architecture has, and replaces those that it means differently.
void add_gemma4_metadata(GgufWriter& writer, const SynthShape& shape, int layers);
// rope_freqs.weight: a quarter of the pairs turns.
std::vector<float> gemma4_frequency_factors(int64_t pairs);
// The text model's keys of config.json.
Json gemma4_text_config(const SynthShape& shape, int layers);

}  // namespace invar
