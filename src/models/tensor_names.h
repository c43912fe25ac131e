// Under which names a checkpoint has the tensors of a text model: what stands before the names that an architecture
// states, and Mistral's own names for them. Files of models that also see or hear put the text model below another
// root.
#pragma once

#include <string>
#include <string_view>

#include "files/checkpoint.h"
#include "models/config.h"

namespace invar {

// The name of a layer's weight in a GGUF file; with -1, of a weight of the whole model.
std::string gguf_name(int layer, std::string_view name);

class TensorNames {
  public:
    explicit TensorNames(const Checkpoint& checkpoint);

    // Of a weight of a layer; -1: of the whole model. `head`: the name stands beside the text model and not in it.
    // Empty where Mistral's layout has no such tensor.
    std::string name(int layer, std::string_view gguf, std::string_view hugging_face, bool head = false) const;

  private:
    Dialect dialect_;
    std::string body_, head_;       // of Hugging Face's names: "model.", ""
    std::string embedding_, norm_;  // "embed_tokens.weight", "norm.weight"
    std::string layers_, output_;   // "layers.", "lm_head.weight"
    std::string mixture_;           // of Mistral's: "feed_forward"
};

// Adds every tensor of layers [first, first + count) to config.tensors_unused. Use it for layers behind the last one
// that the config counts, which predict further tokens.
void leave_out_layers(ModelConfig& config, const Checkpoint& checkpoint, int64_t first, int64_t count,
                      std::string because);

}  // namespace invar
