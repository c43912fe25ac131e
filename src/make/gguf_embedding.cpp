#include "make/gguf_embedding.h"

#include <fmt/format.h>

#include "embed/embedding_config.h"

namespace invar {
namespace {

// llama.cpp's numbers; 0 for modes without one.
uint32_t pooling_type(const std::vector<Pooling>& modes) {
    if (modes.size() != 1) return 0;
    return modes[0] == Pooling::mean ? 1 : modes[0] == Pooling::cls ? 2 : modes[0] == Pooling::last ? 3 : 0;
}

Result<void> add_dense(const Checkpoint& checkpoint, const std::string& prefix, const DenseStep& step,
                       GgufWriter& writer) {
    const DenseTensors& tensors = step.tensors;
    if (tensors.role.gguf.empty() || !tensors.bias.empty() || step.activation != DenseActivation::identity) {
        return fail(
            ErrorKind::unsupported,
            "{}: '{}' is a dense layer that a GGUF file cannot hold: it has room for two, without a bias and an "
            "activation; keep the directory",
            checkpoint.name(), tensors.folder);
    }
    const std::string_view name = tensors.role.gguf.substr(0, tensors.role.gguf.rfind('.'));
    writer.add(fmt::format("{}.{}_feat_in", prefix, name), static_cast<uint32_t>(tensors.inputs));
    writer.add(fmt::format("{}.{}_feat_out", prefix, name), static_cast<uint32_t>(tensors.outputs));
    return {};
}

}  // namespace

Result<std::vector<std::string>> add_embedding_keys(const Checkpoint& checkpoint, const ModelConfig& config,
                                                    GgufWriter& writer) {
    std::vector<std::string> notes;
    TRY_ASSIGN(const EmbeddingConfig embedding, read_embedding_config(checkpoint, config.width));
    if (embedding.pooling.empty()) return notes;
    const uint32_t type = pooling_type(embedding.pooling);
    if (type == 0) {
        return fail(ErrorKind::unsupported,
                    "{}: {} asks for {}, but a GGUF file can say mean, cls or last only; keep the directory",
                    checkpoint.name(), embedding.source, pooling_name(embedding.pooling[0]));
    }
    writer.add(config.architecture + ".pooling_type", type);
    for (const EmbeddingStep& step : embedding.steps) {
        if (const auto* dense = std::get_if<DenseStep>(&step))
            TRY(add_dense(checkpoint, config.architecture, *dense, writer));
    }
    if (!embedding.has_unit_length())
        notes.emplace_back("the file cannot say that vectors keep their length; use --no-normalize with it");
    if (embedding.most_tokens > 0 && embedding.most_tokens < config.context_length) {
        notes.push_back(fmt::format(
            "the file cannot say that texts have at most {} tokens (max_seq_length); use --context {} with it",
            embedding.most_tokens, embedding.most_tokens));
    }
    if (!embedding.prompts.empty())
        notes.emplace_back("the file cannot hold the model's prompts; use --prompt with it");
    return notes;
}

}  // namespace invar
