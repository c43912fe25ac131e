// Tiny random models as GGUF bytes, for tests of binding, planning and whole passes: seeded weights, every
// architecture, and ways to spoil them. Header-only, because several test programs use it.
#pragma once

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "base/check.h"
#include "files/checkpoint.h"
#include "files/gguf_writer.h"

namespace invar::test {

struct TinyTensor {
    std::string name;
    std::vector<int64_t> shape;  // outermost first
    const Format* format;
};

struct TinyModel {
    std::string architecture = "llama";
    int64_t width = 256, layers = 2, heads = 4, kv_heads = 2, head_width = 64, ffn = 512, vocabulary = 260,
            context = 256;
    int64_t experts = 0, experts_used = 0, expert_width = 256;
    bool tied = false;
    bool values = true;  // false: all weights zero, for tests that never compute
    FormatId matrix_format = FormatId::f32;
    // Last changes before writing.
    std::function<void(GgufWriter&)> edit_metadata;
    std::function<void(std::vector<TinyTensor>&)> edit_tensors;

    std::vector<TinyTensor> tensors() const {
        const Format* f32 = &format(FormatId::f32);
        const Format* weights = &format(matrix_format);
        std::vector<TinyTensor> list = {{"token_embd.weight", {vocabulary, width}, weights},
                                        {"output_norm.weight", {width}, f32}};
        if (!tied) list.push_back({"output.weight", {vocabulary, width}, weights});
        for (int64_t i = 0; i < layers; ++i) {
            const std::string block = "blk." + std::to_string(i) + ".";
            list.push_back({block + "attn_norm.weight", {width}, f32});
            list.push_back({block + "attn_q.weight", {heads * head_width, width}, weights});
            list.push_back({block + "attn_k.weight", {kv_heads * head_width, width}, weights});
            list.push_back({block + "attn_v.weight", {kv_heads * head_width, width}, weights});
            list.push_back({block + "attn_output.weight", {width, heads * head_width}, weights});
            if (architecture == "qwen2") {
                list.push_back({block + "attn_q.bias", {heads * head_width}, f32});
                list.push_back({block + "attn_k.bias", {kv_heads * head_width}, f32});
                list.push_back({block + "attn_v.bias", {kv_heads * head_width}, f32});
            }
            if (architecture.starts_with("qwen3")) {
                list.push_back({block + "attn_q_norm.weight", {head_width}, f32});
                list.push_back({block + "attn_k_norm.weight", {head_width}, f32});
            }
            list.push_back({block + "ffn_norm.weight", {width}, f32});
            if (experts > 0) {
                list.push_back({block + "ffn_gate_inp.weight", {experts, width}, f32});
                list.push_back({block + "ffn_gate_exps.weight", {experts, expert_width, width}, weights});
                list.push_back({block + "ffn_up_exps.weight", {experts, expert_width, width}, weights});
                list.push_back({block + "ffn_down_exps.weight", {experts, width, expert_width}, weights});
            } else {
                list.push_back({block + "ffn_gate.weight", {ffn, width}, weights});
                list.push_back({block + "ffn_up.weight", {ffn, width}, weights});
                list.push_back({block + "ffn_down.weight", {width, ffn}, weights});
            }
        }
        return list;
    }

    std::vector<std::byte> bytes() const {
        GgufWriter writer;
        add_metadata(writer);
        if (edit_metadata) edit_metadata(writer);
        std::vector<TinyTensor> list = tensors();
        if (edit_tensors) edit_tensors(list);
        for (const TinyTensor& tensor : list) {
            const auto added = writer.add_tensor(tensor.name, *tensor.format, tensor.shape);
            CHECK(added.has_value(), "tiny models are valid files");
        }
        std::vector<std::byte> file = writer.header();
        std::mt19937 random(20260101);
        for (const TinyTensor& tensor : list) append_values(file, tensor, random, values);
        return file;
    }

    // Writes the model under the test's temporary folder.
    std::filesystem::path write(const std::string& name) const {
        const std::filesystem::path path =
            std::filesystem::temp_directory_path() / ("invar_test_" + std::to_string(getpid()) + "_" + name);
        const std::vector<std::byte> all = bytes();
        std::ofstream(path, std::ios::binary)
            .write(reinterpret_cast<const char*>(all.data()), static_cast<std::streamsize>(all.size()));
        return path;
    }

  private:
    void add_metadata(GgufWriter& writer) const {
        const std::string a = architecture + ".";
        writer.add("general.architecture", architecture);
        writer.add("general.name", "tiny " + architecture);
        writer.add(a + "block_count", static_cast<uint32_t>(layers));
        writer.add(a + "context_length", static_cast<uint32_t>(context));
        writer.add(a + "embedding_length", static_cast<uint32_t>(width));
        writer.add(a + "feed_forward_length", static_cast<uint32_t>(ffn));
        writer.add(a + "attention.head_count", static_cast<uint32_t>(heads));
        writer.add(a + "attention.head_count_kv", static_cast<uint32_t>(kv_heads));
        writer.add(a + "attention.key_length", static_cast<uint32_t>(head_width));
        writer.add(a + "attention.value_length", static_cast<uint32_t>(head_width));
        writer.add(a + "attention.layer_norm_rms_epsilon", 1e-5f);
        writer.add(a + "rope.freq_base", 10000.0f);
        writer.add(a + "rope.dimension_count", static_cast<uint32_t>(head_width));
        if (experts > 0) {
            writer.add(a + "expert_count", static_cast<uint32_t>(experts));
            writer.add(a + "expert_used_count", static_cast<uint32_t>(experts_used));
            writer.add(a + "expert_feed_forward_length", static_cast<uint32_t>(expert_width));
        }
    }

    static void append_values(std::vector<std::byte>& file, const TinyTensor& tensor, std::mt19937& random,
                              bool values) {
        while (file.size() % kGgufDefaultAlignment != 0) file.push_back(std::byte{0});
        int64_t count = 1;
        for (const int64_t extent : tensor.shape) count *= extent;
        if (!values) {
            file.resize(file.size() + static_cast<size_t>(tensor.format->row_bytes(count)));
            return;
        }
        const bool is_vector = tensor.shape.size() == 1;
        const float spread = is_vector ? 0.1f : 1.0f / std::sqrt(static_cast<float>(tensor.shape.back()));
        std::normal_distribution<float> normal(is_vector ? 1.0f : 0.0f, spread);
        std::vector<float> drawn(static_cast<size_t>(count));
        for (float& value : drawn) value = normal(random);
        const auto start = file.size();
        file.resize(start + static_cast<size_t>(tensor.format->row_bytes(count)));
        tensor.format->encode(drawn.data(), count, nullptr, file.data() + start);
    }
};

inline TinyModel tiny(const std::string& architecture) {
    TinyModel model;
    model.architecture = architecture;
    if (architecture == "qwen3moe") {
        model.experts = 8;
        model.experts_used = 2;
        model.ffn = 0x100;
    }
    model.tied = architecture == "qwen3";
    return model;
}

inline const std::vector<std::string>& tiny_architectures() {
    static const std::vector<std::string> names = {"llama", "qwen2", "qwen3", "qwen3moe"};
    return names;
}

}  // namespace invar::test
