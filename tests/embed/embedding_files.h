// Checkpoints in memory that say how they pool: directories with modules, and GGUF files of two keys.
#pragma once

#include <fmt/format.h>

#include <map>
#include <string>
#include <vector>

#include "embed/embedding_config.h"
#include "files/gguf_bytes.h"
#include "files/model_directory_files.h"

namespace invar {

inline constexpr int64_t kWidth = 8;

inline std::string module_list(const std::vector<std::pair<std::string, std::string>>& modules) {
    std::string text;
    for (const auto& [kind, folder] : modules) {
        text += fmt::format(R"({}{{"type": "sentence_transformers.models.{}", "path": "{}"}})", text.empty() ? "" : ",",
                            kind, folder);
    }
    return "[" + text + "]";
}

// A file with an F32 matrix linear.weight and, if asked for, its bias.
inline std::string dense_file(int64_t outputs, int64_t inputs, bool bias) {
    const int64_t matrix = 4 * outputs * inputs, all = matrix + (bias ? 4 * outputs : 0);
    std::string header = fmt::format(R"({{"linear.weight":{{"dtype":"F32","shape":[{},{}],"data_offsets":[0,{}]}})",
                                     outputs, inputs, matrix);
    if (bias)
        header += fmt::format(R"(,"linear.bias":{{"dtype":"F32","shape":[{}],"data_offsets":[{},{}]}})", outputs,
                              matrix, all);
    return safetensors_bytes(header + "}", static_cast<size_t>(all));
}

// Mean, a layer from 8 to 4 with tanh and a bias, length 1: valid.
inline TestFiles embedding_directory() {
    TestFiles files = single_directory();
    files["modules.json"] = module_list(
        {{"Transformer", ""}, {"Pooling", "1_Pooling"}, {"Dense", "2_Dense"}, {"Normalize", "3_Normalize"}});
    files["1_Pooling/config.json"] = R"({"word_embedding_dimension": 8, "pooling_mode_mean_tokens": true})";
    files["2_Dense/config.json"] =
        R"({"in_features": 8, "out_features": 4, "bias": true, "activation_function": "torch.nn.modules.activation.Tanh"})";
    files["2_Dense/model.safetensors"] = dense_file(4, 8, true);
    return files;
}

inline Result<EmbeddingConfig> config_of(const TestFiles& files) {
    std::vector<MemoryFile> list;
    for (const auto& [name, text] : files) list.push_back({name, std::as_bytes(std::span(text))});
    TRY_ASSIGN(const Checkpoint checkpoint, Checkpoint::from_files(std::move(list), "model"));
    TRY_ASSIGN(EmbeddingConfig config, read_embedding_config(checkpoint, kWidth));
    TRY(check_embedding_sizes(config, kWidth, checkpoint.name()));
    return config;
}

inline std::string refusal_of(const TestFiles& files) {
    const auto config = config_of(files);
    return config ? std::string() : config.error().message;
}

// embedding_directory() with another text for one file.
inline std::string refusal_with(const std::string& file, const std::string& text) {
    TestFiles files = embedding_directory();
    files[file] = text;
    return refusal_of(files);
}

}  // namespace invar
