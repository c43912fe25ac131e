#include "models/tensor_names.h"

#include <fmt/format.h>

#include <algorithm>

namespace invar {
namespace {

struct Root {
    std::string_view body, head;
    std::string_view embedding = "embed_tokens.weight", norm = "norm.weight";  // what it calls these two
    std::string_view layers = "layers.", output = "lm_head.weight";            // and layers and the head
};
constexpr Root kRoots[] = {
    {"model.", ""},
    {"language_model.model.", "language_model."},
    {"model.language_model.", ""},
    {"backbone.", "", "embeddings.weight", "norm_f.weight"},
    {"language_model.backbone.", "language_model.", "embeddings.weight", "norm_f.weight"},
    {"", "", "wte.weight", "ln_f.weight", "h."},
    {"transformer.", "", "wte.weight", "ln_f.weight", "h."},
    {"transformer.", "", "word_embeddings.weight", "ln_f.weight", "h."},
    {"gpt_neox.", "", "embed_in.weight", "final_layer_norm.weight", "layers.", "embed_out.weight"},
    // Saved without a head, as models for embeddings are.
    {"", ""},
    {"", "", "embeddings.tok_embeddings.weight", "final_norm.weight"},
    {"model.", "", "embeddings.tok_embeddings.weight", "final_norm.weight"},
    {"", "", "embeddings.word_embeddings.weight", "norm.weight", "encoder.layer."},
    {"bert.", "", "embeddings.word_embeddings.weight", "norm.weight", "encoder.layer."},
    {"", "", "embeddings.word_embeddings.weight", "norm.weight", "encoder.layers."}};

// Mistral's names, behind "layers.N." for a weight of a layer. "MIXTURE" is what a layer's mixture of experts is
// called.
struct OwnName {
    std::string_view gguf, mistral;
};
constexpr OwnName kMistralNames[] = {
    {"token_embd.weight", "tok_embeddings.weight"},
    {"output_norm.weight", "norm.weight"},
    {"output.weight", "output.weight"},
    {"attn_norm.weight", "attention_norm.weight"},
    {"attn_q.weight", "attention.wq.weight"},
    {"attn_k.weight", "attention.wk.weight"},
    {"attn_v.weight", "attention.wv.weight"},
    {"attn_output.weight", "attention.wo.weight"},
    {"attn_q.bias", "attention.wq.bias"},
    {"attn_k.bias", "attention.wk.bias"},
    {"attn_v.bias", "attention.wv.bias"},
    {"attn_output.bias", "attention.wo.bias"},
    {"ffn_norm.weight", "ffn_norm.weight"},
    {"ffn_gate.weight", "feed_forward.w1.weight"},
    {"ffn_down.weight", "feed_forward.w2.weight"},
    {"ffn_up.weight", "feed_forward.w3.weight"},
    {"ffn_gate_inp.weight", "MIXTURE.gate.weight"},
    {"ffn_gate_exps.weight", "MIXTURE.experts.{}.w1.weight"},
    {"ffn_down_exps.weight", "MIXTURE.experts.{}.w2.weight"},
    {"ffn_up_exps.weight", "MIXTURE.experts.{}.w3.weight"},
};

// Empty where there is no such tensor.
std::string mistral_name(std::string_view gguf, std::string_view mixture) {
    constexpr std::string_view kMixture = "MIXTURE";
    for (const OwnName& name : kMistralNames) {
        if (name.gguf != gguf) continue;
        if (!name.mistral.starts_with(kMixture)) return std::string(name.mistral);
        return fmt::format("{}{}", mixture, name.mistral.substr(kMixture.size()));
    }
    return {};
}

bool has_tensors(const Checkpoint& checkpoint, const std::string& prefix) {
    return std::ranges::any_of(checkpoint.tensors(),
                               [&](const TensorInfo& tensor) { return tensor.name.starts_with(prefix); });
}

}  // namespace

std::string gguf_name(int layer, std::string_view name) {
    return layer < 0 ? std::string(name) : fmt::format("blk.{}.{}", layer, name);
}

TensorNames::TensorNames(const Checkpoint& checkpoint) : dialect_(checkpoint.dialect()) {
    const Root* root = &kRoots[0];
    for (const Root& each : kRoots) {
        if (checkpoint.find(fmt::format("{}{}", each.body, each.embedding)) == nullptr) continue;
        if (each.layers.starts_with("encoder.") &&
            !has_tensors(checkpoint, fmt::format("{}{}", each.body, each.layers)))
            continue;  // BERT and Nomic's BERT call layers differently
        root = &each;
        break;
    }
    body_ = root->body;
    head_ = root->head;
    embedding_ = root->embedding;
    norm_ = root->norm;
    layers_ = root->layers;
    output_ = root->output;
    const bool early = checkpoint.find("layers.0.block_sparse_moe.gate.weight") != nullptr;  // Mixtral's first files
    mixture_ = early ? "block_sparse_moe" : "feed_forward";
}

std::string TensorNames::name(int layer, std::string_view gguf, std::string_view hugging_face, bool head) const {
    if (dialect_ == Dialect::gguf) return gguf_name(layer, gguf);
    if (dialect_ == Dialect::mistral) {
        const std::string name = mistral_name(gguf, mixture_);
        return layer < 0 || name.empty() ? name : fmt::format("layers.{}.{}", layer, name);
    }
    if (layer >= 0) return fmt::format("{}{}{}.{}", body_, layers_, layer, hugging_face);
    if (head && hugging_face == kRoots[0].output) return fmt::format("{}{}", head_, output_);
    if (head) return fmt::format("{}{}", head_, hugging_face);
    if (hugging_face == kRoots[0].embedding) return fmt::format("{}{}", body_, embedding_);
    return fmt::format("{}{}", body_, hugging_face == kRoots[0].norm ? std::string_view(norm_) : hugging_face);
}

void leave_out_layers(ModelConfig& config, const Checkpoint& checkpoint, int64_t first, int64_t count,
                      std::string because) {
    const TensorNames names(checkpoint);
    for (int64_t layer = first; layer < first + count; ++layer) {
        config.tensors_unused.push_back({names.name(static_cast<int>(layer), "*", "*"), because});
    }
}

}  // namespace invar
