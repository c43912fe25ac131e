// Assembles the config of a directory from its modules, and that of a GGUF file from its keys: see embedding_config.h.
#include "embed/embedding_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "embed/module_config.h"
#include "files/model_directory.h"
#include "files/printable.h"

namespace invar {
namespace {

std::string step_text(const EmbeddingStep& step) {
    const auto* dense = std::get_if<DenseStep>(&step);
    if (dense == nullptr) return "length 1";
    return fmt::format("a dense layer to {}{}", dense->tensors.outputs,
                       dense->activation == DenseActivation::tanh ? " with tanh" : "");
}

std::string mode_text(Pooling mode) {
    switch (mode) {
        case Pooling::cls:
            return "the first token";
        case Pooling::last:
            return "the last token";
        case Pooling::max:
            return "maximum of the tokens";
        case Pooling::mean:
            return "mean of the tokens";
        case Pooling::mean_sqrt_length:
            return "sum of the tokens over the root of their number";
        case Pooling::weighted_mean:
            return "mean of the tokens, weighted by position";
    }
    return "";
}

// The layers that the modules name are those whose tensors were found, in the same order.
Result<void> add_dense(const SentenceModule& module, const std::vector<DenseTensors>& found, const std::string& folder,
                       EmbeddingConfig& config) {
    const auto tensors =
        std::find_if(found.begin(), found.end(), [&](const DenseTensors& one) { return one.folder == module.folder; });
    if (!module.has_weights) {
        return fail(
            "{}: the module '{}' is a dense layer, but has no model.safetensors; save the model again with "
            "sentence-transformers (safe_serialization)",
            folder, module.folder);
    }
    if (tensors == found.end()) {
        return fail("{}: the module '{}' is a dense layer without a matrix linear.weight, or one of more than {}",
                    folder, module.folder, kDenseRoles.size());
    }
    DenseStep step{.tensors = *tensors};
    TRY_ASSIGN(step.activation, read_dense_module(module, *tensors));
    config.steps.emplace_back(std::move(step));
    return {};
}

Result<void> add_module(const SentenceModule& module, size_t index, const Checkpoint& checkpoint, int64_t width,
                        EmbeddingConfig& config) {
    const ModelDirectory& directory = *checkpoint.directory();
    const std::string list = directory.name_of(kSentenceModules);
    if (module.kind == "Transformer") {
        if (index == 0 && module.folder.empty()) return {};
        return fail(
            "{}: module {} is a Transformer with the path '{}', but only the first can be one, in the directory "
            "itself",
            list, index, module.folder);
    }
    if (module.kind == "Pooling") {
        if (!config.pooling.empty()) return fail("{}: two modules pool, but one can", list);
        TRY(read_pooling_module(module, width, config));
        config.source = module.folder + "/config.json";
        return {};
    }
    if (config.pooling.empty()) {
        return fail(ErrorKind::unsupported,
                    "{}: module {} is '{}' and stands before the pooling; only steps behind it are computed", list,
                    index, printable(module.kind));
    }
    if (module.kind == "Dense") return add_dense(module, dense_tensors(checkpoint), directory.name(), config);
    if (module.kind == "Normalize") {
        TRY(read_normalize_module(module));
        config.steps.emplace_back(UnitLengthStep{});
        return {};
    }
    return fail(ErrorKind::unsupported,
                "{}: module {} is '{}', which is not computed; the kinds Transformer, Pooling, Dense and Normalize are",
                list, index, printable(module.kind));
}

Result<EmbeddingConfig> of_directory(const Checkpoint& checkpoint, int64_t width) {
    const ModelDirectory& directory = *checkpoint.directory();
    EmbeddingConfig config;
    const std::span<const SentenceModule> modules = directory.sentence_modules();
    for (size_t index = 0; index < modules.size(); ++index)
        TRY(add_module(modules[index], index, checkpoint, width, config));
    if (!modules.empty() && config.pooling.empty())
        return fail("{}: no module pools the rows of a text", directory.name_of(kSentenceModules));
    if (modules.empty() && directory.has(kSentenceModules)) config.source = "the list in its modules.json is empty";
    TRY(read_transformer_settings(directory, config));
    TRY(read_prompts(directory, config));
    return config;
}

// The numbers of llama.cpp's pooling types.
Result<EmbeddingConfig> of_gguf(const Checkpoint& checkpoint) {
    EmbeddingConfig config;
    for (DenseTensors& layer : dense_tensors(checkpoint)) config.steps.emplace_back(DenseStep{std::move(layer)});
    config.steps.emplace_back(UnitLengthStep{});  // llama.cpp's default; a GGUF file has no key for it
    const Metadata& metadata = checkpoint.metadata();
    const MetadataValue* architecture = metadata.find("general.architecture");
    if (architecture == nullptr || !architecture->as_string()) return config;
    config.source = fmt::format("{}.pooling_type", printable(*architecture->as_string()));
    const MetadataValue* type = metadata.find(fmt::format("{}.pooling_type", *architecture->as_string()));
    if (type == nullptr) return config;
    const std::optional<uint64_t> number = type->as_u64();
    if (number == 0u) return config;  // none: a row for each token
    if (number == 1u) config.pooling = {Pooling::mean};
    if (number == 2u) config.pooling = {Pooling::cls};
    if (number == 3u) config.pooling = {Pooling::last};
    if (!config.pooling.empty()) return config;
    if (number == 4u) {
        return fail(ErrorKind::unsupported,
                    "{}: the key '{}' is 4, so the model ranks pairs of texts by a score and makes no vectors",
                    checkpoint.name(), config.source);
    }
    return fail("{}: the key '{}' is {}, but it must be 0 (none), 1 (mean), 2 (cls) or 3 (last)", checkpoint.name(),
                config.source, number ? fmt::format("{}", *number) : type->type_name());
}

}  // namespace

bool EmbeddingConfig::has_unit_length() const {
    return std::any_of(steps.begin(), steps.end(),
                       [](const EmbeddingStep& step) { return std::holds_alternative<UnitLengthStep>(step); });
}

std::string EmbeddingConfig::description() const {
    std::string text;
    for (const Pooling mode : pooling) text += fmt::format("{}{}", text.empty() ? "" : " beside ", mode_text(mode));
    for (const EmbeddingStep& step : steps) text += fmt::format(", {}", step_text(step));
    return text;
}

Result<EmbeddingConfig> read_embedding_config(const Checkpoint& checkpoint, int64_t width) {
    EmbeddingConfig config;
    if (checkpoint.directory() != nullptr) {
        TRY_ASSIGN(config, of_directory(checkpoint, width));
    } else {
        TRY_ASSIGN(config, of_gguf(checkpoint));
    }
    return config;
}

Result<void> check_embedding_sizes(const EmbeddingConfig& config, int64_t width, const std::string& name) {
    int64_t size = width * static_cast<int64_t>(config.pooling.size());
    for (const EmbeddingStep& step : config.steps) {
        const auto* dense = std::get_if<DenseStep>(&step);
        if (dense == nullptr) continue;
        if (dense->tensors.inputs != size) {
            return fail("{}: tensor '{}' takes {} elements, but the step before it makes {}", name,
                        printable(dense->tensors.weight), dense->tensors.inputs, size);
        }
        size = dense->tensors.outputs;
    }
    return {};
}

int64_t vector_size(const EmbeddingConfig& config, int64_t width) {
    int64_t size = width * static_cast<int64_t>(config.pooling.size());
    for (const EmbeddingStep& step : config.steps) {
        if (const auto* dense = std::get_if<DenseStep>(&step)) size = dense->tensors.outputs;
    }
    return size;
}

}  // namespace invar
