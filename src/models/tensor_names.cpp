#include "models/tensor_names.h"

#include <fmt/format.h>

namespace invar {
namespace {

struct Root {
    std::string_view body, head;
};
constexpr Root kRoots[] = {{"model.", ""}, {"language_model.model.", "language_model."}, {"model.language_model.", ""}};

}  // namespace

std::string gguf_name(int layer, std::string_view name) {
    return layer < 0 ? std::string(name) : fmt::format("blk.{}.{}", layer, name);
}

TensorNames::TensorNames(const Checkpoint& checkpoint) : dialect_(checkpoint.dialect()) {
    const Root* root = &kRoots[0];
    for (const Root& each : kRoots) {
        if (checkpoint.find(fmt::format("{}embed_tokens.weight", each.body)) == nullptr) continue;
        root = &each;
        break;
    }
    body_ = root->body;
    head_ = root->head;
}

std::string TensorNames::name(int layer, std::string_view gguf, std::string_view hugging_face, bool head) const {
    if (dialect_ == Dialect::gguf) return gguf_name(layer, gguf);
    if (layer >= 0) return fmt::format("{}layers.{}.{}", body_, layer, hugging_face);
    return fmt::format("{}{}", head ? head_ : body_, hugging_face);
}

}  // namespace invar
