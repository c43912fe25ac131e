// A tiny llama as a model directory in memory: every tensor by hand, so that tests can store modules as each tool of
// the field does and spoil them.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "files/checkpoint.h"
#include "files/model_directory.h"

namespace invar::test {

struct RawTensor {
    std::string dtype;
    std::vector<int64_t> shape;
    std::string bytes;
};

struct TinyDirectory {
    std::map<std::string, RawTensor> tensors;
    std::string config;
    std::string config_name = "config.json", weights_name = "model.safetensors";
    std::string file;  // what open() keeps alive

    Result<Checkpoint> open() {
        std::string header, data;
        for (const auto& [name, tensor] : tensors) {
            header += fmt::format(R"({}"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                                  header.empty() ? "" : ",", name, tensor.dtype, fmt::join(tensor.shape, ","),
                                  data.size(), data.size() + tensor.bytes.size());
            data += tensor.bytes;
        }
        header = "{" + header + "}";
        const uint64_t length = header.size();
        file.assign(8, '\0');
        std::memcpy(file.data(), &length, 8);
        file += header + data;
        return Checkpoint::from_files(
            {{config_name, std::as_bytes(std::span(config))}, {weights_name, std::as_bytes(std::span(file))}}, "tiny");
    }

    void floats(const std::string& name, std::vector<int64_t> shape, const std::vector<float>& values) {
        std::string bytes(values.size() * 4, '\0');
        std::memcpy(bytes.data(), values.data(), bytes.size());
        tensors[name] = {"F32", std::move(shape), std::move(bytes)};
    }
    void number(const std::string& name, float value) { floats(name, {1}, {value}); }
    void random_bytes(const std::string& name, const std::string& dtype, std::vector<int64_t> shape, unsigned most) {
        int64_t count = 1;
        for (const int64_t extent : shape) count *= extent;
        std::mt19937 random(static_cast<unsigned>(name.size()));
        std::string bytes;
        for (int64_t i = 0; i < count; ++i) bytes += static_cast<char>(random() % (most + 1));
        tensors[name] = {dtype, std::move(shape), std::move(bytes)};
    }
    // The module's codes and scales as llm-compressor writes NVFP4; `tensor` is its name with ".weight".
    void compress(const std::string& tensor, float divisor) {
        const std::vector<int64_t> shape = tensors.at(tensor).shape;
        tensors.erase(tensor);
        random_bytes(tensor + "_packed", "U8", {shape[0], shape[1] / 2}, 255);
        random_bytes(tensor + "_scale", "F8_E4M3", {shape[0], shape[1] / 16}, 0x7E);
        number(tensor + "_global_scale", divisor);
    }
};

inline constexpr int64_t kTinyWidth = 64, kTinyFfn = 128, kTinyVocabulary = 32;

inline TinyDirectory tiny_directory(std::string_view more_config = "") {
    TinyDirectory tiny;
    tiny.config = fmt::format(
        R"({{"model_type":"llama","num_hidden_layers":1,"hidden_size":{},"intermediate_size":{},"vocab_size":{},)"
        R"("num_attention_heads":2,"num_key_value_heads":1,"head_dim":32,"max_position_embeddings":64,)"
        R"("rms_norm_eps":1e-5,"rope_theta":10000.0,"hidden_act":"silu"{}}})",
        kTinyWidth, kTinyFfn, kTinyVocabulary, more_config);
    std::mt19937 random(1);
    const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
        int64_t count = 1;
        for (const int64_t extent : shape) count *= extent;
        std::normal_distribution<float> normal(shape.size() == 1 ? 1.0f : 0.0f, 0.1f);
        std::vector<float> values(static_cast<size_t>(count));
        for (float& value : values) value = normal(random);
        tiny.floats(name, std::move(shape), values);
    };
    add("model.embed_tokens.weight", {kTinyVocabulary, kTinyWidth});
    add("model.norm.weight", {kTinyWidth});
    add("lm_head.weight", {kTinyVocabulary, kTinyWidth});
    const std::string layer = "model.layers.0.";
    add(layer + "input_layernorm.weight", {kTinyWidth});
    add(layer + "post_attention_layernorm.weight", {kTinyWidth});
    add(layer + "self_attn.q_proj.weight", {64, kTinyWidth});
    add(layer + "self_attn.k_proj.weight", {32, kTinyWidth});
    add(layer + "self_attn.v_proj.weight", {32, kTinyWidth});
    add(layer + "self_attn.o_proj.weight", {kTinyWidth, 64});
    add(layer + "mlp.gate_proj.weight", {kTinyFfn, kTinyWidth});
    add(layer + "mlp.up_proj.weight", {kTinyFfn, kTinyWidth});
    add(layer + "mlp.down_proj.weight", {kTinyWidth, kTinyFfn});
    return tiny;
}

}  // namespace invar::test
