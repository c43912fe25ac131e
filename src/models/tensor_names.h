// The names of a text model's tensors in a checkpoint: it adds the prefix of the names that an architecture states.
// Files of models with vision or audio keep the text model below another root.
#pragma once

#include <string>
#include <string_view>

#include "files/checkpoint.h"

namespace invar {

// The name of a layer's weight in a GGUF file; with -1, of a weight of the whole model.
std::string gguf_name(int layer, std::string_view name);

class TensorNames {
  public:
    explicit TensorNames(const Checkpoint& checkpoint);

    // The name of a layer's weight; with -1, of a weight of the whole model. `head`: the name stands beside the text
    // model and not in it.
    std::string name(int layer, std::string_view gguf, std::string_view hugging_face, bool head = false) const;

  private:
    Dialect dialect_;
    std::string body_, head_;  // of Hugging Face's names: "model.", ""
};

}  // namespace invar
