// Lists the tensors of a shape under GGUF's names and fills them from a pool of encoded blocks: see synth.h.
#include "make/synth.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "arithmetic/philox.h"
#include "base/check.h"
#include "files/gguf_writer.h"
#include "make/quantize_mixes.h"
#include "make/synth_documents.h"
#include "make/synth_gemma4.h"

namespace invar {
namespace {

struct SynthTensor {
    std::string name;
    std::vector<int64_t> shape;  // outermost first
    const Format* format = nullptr;

    int64_t rows() const {
        int64_t rows = 1;
        for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
        return rows;
    }
    int64_t bytes() const { return rows() * format->row_bytes(shape.back()); }
};

std::vector<SynthTensor> tensors_of(const SynthShape& shape, int layers) {
    std::vector<SynthTensor> tensors;
    const auto add = [&](std::string name, std::vector<int64_t> dimensions) {
        tensors.push_back({.name = std::move(name), .shape = std::move(dimensions)});
    };
    if (shape.is_gemma4()) {
        for (SynthNamedShape& tensor : gemma4_tensors(shape, layers))
            add(std::move(tensor.name), std::move(tensor.shape));
        return tensors;
    }
    const int64_t query = int64_t{shape.heads} * shape.head_width, key = int64_t{shape.kv_heads} * shape.head_width;
    add("token_embd.weight", {shape.vocabulary, shape.width});
    add("output_norm.weight", {shape.width});
    if (!shape.tied) add("output.weight", {shape.vocabulary, shape.width});
    for (int layer = 0; layer < layers; ++layer) {
        const auto name = [&](std::string_view part) { return fmt::format("blk.{}.{}", layer, part); };
        add(name("attn_norm.weight"), {shape.width});
        add(name("attn_q.weight"), {query, shape.width});
        add(name("attn_k.weight"), {key, shape.width});
        add(name("attn_v.weight"), {key, shape.width});
        add(name("attn_output.weight"), {shape.width, query});
        if (shape.architecture == "qwen2") {
            add(name("attn_q.bias"), {query});
            add(name("attn_k.bias"), {key});
            add(name("attn_v.bias"), {key});
        }
        if (shape.architecture.starts_with("qwen3")) {
            add(name("attn_q_norm.weight"), {shape.head_width});
            add(name("attn_k_norm.weight"), {shape.head_width});
        }
        add(name("ffn_norm.weight"), {shape.width});
        if (shape.experts > 0) {
            add(name("ffn_gate_inp.weight"), {shape.experts, shape.width});
            add(name("ffn_gate_exps.weight"), {shape.experts, shape.expert_width, shape.width});
            add(name("ffn_up_exps.weight"), {shape.experts, shape.expert_width, shape.width});
            add(name("ffn_down_exps.weight"), {shape.experts, shape.width, shape.expert_width});
        } else {
            add(name("ffn_gate.weight"), {shape.ffn_width, shape.width});
            add(name("ffn_up.weight"), {shape.ffn_width, shape.width});
            add(name("ffn_down.weight"), {shape.width, shape.ffn_width});
        }
    }
    return tensors;
}

// The 256 byte tokens of byte-level BPE, then names that no text reaches. So any prompt has tokens.
std::vector<std::string> vocabulary_of(const SynthShape& shape) {
    std::vector<std::string> tokens = byte_characters();
    while (static_cast<int64_t>(tokens.size()) < shape.vocabulary - 1) {
        tokens.push_back(fmt::format("<synthetic {}>", tokens.size()));
    }
    tokens.emplace_back("<|end|>");
    return tokens;
}

void add_metadata(GgufWriter& writer, const SynthShape& shape, const SynthOptions& options, const Mix& mix,
                  int layers) {
    const auto key = [&](std::string_view name) { return fmt::format("{}.{}", shape.architecture, name); };
    const auto count = [](int64_t number) { return static_cast<uint32_t>(number); };
    writer.add("general.architecture", shape.architecture);
    writer.add("general.name", fmt::format("{} with random weights, {}", shape.name, mix.name));
    writer.add("general.description", fmt::format("made by invar synth {} {} --seed {}; for measurements", shape.name,
                                                  mix.name, options.seed));
    writer.add("general.file_type", mix.file_type);
    writer.add(key("block_count"), count(layers));
    writer.add(key("context_length"), count(shape.context));
    writer.add(key("embedding_length"), count(shape.width));
    writer.add(key("feed_forward_length"), count(shape.ffn_width));
    writer.add(key("attention.head_count"), count(shape.heads));
    writer.add(key("attention.head_count_kv"), count(shape.kv_heads));
    writer.add(key("attention.key_length"), count(shape.head_width));
    writer.add(key("attention.value_length"), count(shape.head_width));
    writer.add(key("attention.layer_norm_rms_epsilon"), 1e-6f);
    writer.add(key("rope.freq_base"), shape.rope_base);
    writer.add(key("rope.dimension_count"), count(shape.head_width));
    writer.add(key("vocab_size"), count(shape.vocabulary));
    if (shape.experts > 0) {
        writer.add(key("expert_count"), count(shape.experts));
        writer.add(key("expert_used_count"), count(shape.experts_per_token));
        writer.add(key("expert_feed_forward_length"), count(shape.expert_width));
    }
    if (shape.is_gemma4()) add_gemma4_metadata(writer, shape, layers);
    const std::vector<std::string> tokens = vocabulary_of(shape);
    const std::vector<std::string_view> views(tokens.begin(), tokens.end());
    std::vector<int32_t> kinds(tokens.size(), 1);
    kinds.back() = 3;  // control
    const std::vector<std::string_view> merges = {"a b"};
    writer.add("tokenizer.ggml.model", "gpt2");
    writer.add("tokenizer.ggml.pre", shape.architecture == "llama" ? "llama-bpe" : "qwen2");
    writer.add_array("tokenizer.ggml.tokens", std::span<const std::string_view>(views));
    writer.add_array("tokenizer.ggml.token_type", std::span<const int32_t>(kinds));
    writer.add_array("tokenizer.ggml.merges", std::span<const std::string_view>(merges));
    writer.add("tokenizer.ggml.eos_token_id", count(shape.vocabulary - 1));
    writer.add("tokenizer.ggml.add_bos_token", false);
    writer.add("tokenizer.chat_template",
               "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant:");
}

// Encoded blocks of one format, from which weights are drawn.
class BlockPool {
  public:
    BlockPool(const Format& format, uint64_t seed) : format_(format) {
        constexpr int64_t kWeights = int64_t{1} << 19;  // 128 KiB and more of blocks: no cache line repeats soon
        constexpr float kSigma = 0.02f;
        std::vector<float> weights(kWeights);
        for (int64_t i = 0; i < kWeights; ++i) {
            // The sum of four uniform numbers, minus its mean, has the variance 1/3.
            float sum = -2;
            for (uint32_t draw = 0; draw < 4; ++draw) sum += law::uniform(seed, static_cast<uint64_t>(i), draw);
            weights[static_cast<size_t>(i)] = sum * std::sqrt(3.0f) * kSigma;
        }
        bytes_.resize(static_cast<size_t>(format.row_bytes(kWeights)));
        format.encode(weights.data(), kWeights, nullptr, bytes_.data());
    }

    // Fills `out` with whole blocks, in runs that start anywhere in the pool.
    void fill(std::span<std::byte> out, uint64_t stream) const {
        const auto block = static_cast<size_t>(format_.block_bytes);
        const size_t blocks = bytes_.size() / block, run = 64;
        for (size_t done = 0, draw = 0; done < out.size(); ++draw) {
            const size_t start = static_cast<size_t>(law::philox4x32({static_cast<uint32_t>(draw), 0, 0, 0},
                                                                     {static_cast<uint32_t>(stream), 1})[0]) %
                                 (blocks - run);
            const size_t bytes = std::min(run * block, out.size() - done);
            std::copy_n(bytes_.data() + start * block, bytes, out.data() + done);
            done += bytes;
        }
    }

  private:
    const Format& format_;
    std::vector<std::byte> bytes_;
};

}  // namespace

int64_t SynthShape::weights(int with_layers) const {
    int64_t total = 0;
    for (const SynthTensor& tensor : tensors_of(*this, with_layers)) total += tensor.rows() * tensor.shape.back();
    return total;
}

Result<int> synth_layers(const SynthShape& shape, const SynthOptions& options) {
    if (options.layers < 0 || options.layers > shape.layers) {
        return fail("--layers is {}, but {} has {} layers; give at most that", options.layers, shape.name,
                    shape.layers);
    }
    return options.layers > 0 ? options.layers : shape.layers;
}

Result<int64_t> synthesize(const SynthShape& shape, const SynthOptions& options, const std::filesystem::path& out,
                           const SynthProgress& progress) {
    TRY_ASSIGN(const Mix* mix, find_mix(options.mix));
    TRY_ASSIGN(const int layers, synth_layers(shape, options));
    const MixModel model{.layers = layers,
                         .has_output = !shape.tied,
                         .has_experts = shape.experts > 0,
                         .query_group = static_cast<double>(shape.heads) / shape.kv_heads};
    GgufWriter writer;
    add_metadata(writer, shape, options, *mix, layers);
    std::vector<SynthTensor> tensors = tensors_of(shape, layers);
    int64_t total = 0;
    for (SynthTensor& tensor : tensors) {
        const TensorInfo info{.name = tensor.name, .format = &format(FormatId::f32), .shape = tensor.shape};
        tensor.format = choose_format(*mix, info, model).chosen;
        TRY(writer.add_tensor(tensor.name, *tensor.format, tensor.shape));
        total += tensor.bytes();
    }
    TRY(writer.begin(out));
    std::map<FormatId, BlockPool> pools;
    std::vector<std::byte> piece;
    int64_t done = 0;
    for (size_t i = 0; i < tensors.size(); ++i) {
        const SynthTensor& tensor = tensors[i];
        if (tensor.shape.size() == 1 && !tensor.name.ends_with(".bias")) {  // norms
            std::vector<float> values(static_cast<size_t>(tensor.shape[0]), 1.0f);
            if (tensor.name == "rope_freqs.weight") values = gemma4_frequency_factors(tensor.shape[0]);
            CHECK(tensor.format->id == FormatId::f32, "mixes keep vectors in f32");
            TRY(writer.append(std::as_bytes(std::span(values))));
            done += tensor.bytes();
            continue;
        }
        const BlockPool& pool = pools.try_emplace(tensor.format->id, *tensor.format, options.seed).first->second;
        constexpr int64_t kPieceBlocks = 16384;
        for (int64_t left = tensor.bytes(), part = 0; left > 0; ++part) {
            const int64_t bytes = std::min(left, kPieceBlocks * tensor.format->block_bytes);
            piece.resize(static_cast<size_t>(bytes));
            pool.fill(piece, options.seed + (static_cast<uint64_t>(i) << 16) + static_cast<uint64_t>(part));
            TRY(writer.append(piece));
            left -= bytes;
            done += bytes;
            if (progress && !progress(done, total)) return fail("stopped; {} was not written", out.string());
        }
    }
    TRY(writer.finish());
    return static_cast<int64_t>(writer.file_bytes());
}

}  // namespace invar
