// Lists the tensors of a shape under GGUF's names and fills them from pools of encoded blocks: see synth.h.
#include "make/synth.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <vector>

#include "arithmetic/philox.h"
#include "base/check.h"
#include "make/gguf_source.h"
#include "make/quantize_mixes.h"
#include "make/synth_documents.h"
#include "make/synth_headers.h"
#include "make/synth_layers.h"

namespace invar {
namespace {

// Calls take(token) for the 256 byte tokens of byte-level BPE, then for names that no text reaches. So any prompt has
// tokens. There may be 262,144, so no text is made for each alone.
template <class Take>
void each_token(int64_t size, Take take) {
    const std::vector<std::string> bytes = byte_characters();
    for (const std::string& token : bytes) take(std::string_view(token));
    std::string name = "<synthetic ";
    const size_t prefix = name.size();
    for (auto number = static_cast<int64_t>(bytes.size()); number < size - 1; ++number) {
        char digits[24];
        const auto end = std::to_chars(std::begin(digits), std::end(digits), number).ptr;
        name.resize(prefix);
        name.append(digits, end).append(1, '>');
        take(std::string_view(name));
    }
    take(std::string_view("<|end|>"));
}

void add_vocabulary(GgufWriter& writer, int64_t size, const std::string& architecture) {
    constexpr size_t kUsualToken = 20;  // bytes
    std::string text;                   // of all tokens
    std::vector<size_t> ends;
    text.reserve(kUsualToken * static_cast<size_t>(size));
    ends.reserve(static_cast<size_t>(size));
    each_token(size, [&](std::string_view token) {
        text += token;
        ends.push_back(text.size());
    });
    std::vector<std::string_view> tokens;
    tokens.reserve(ends.size());
    for (size_t begin = 0; const size_t end : ends) {
        tokens.push_back(std::string_view(text).substr(begin, end - begin));
        begin = end;
    }
    std::vector<int32_t> kinds(tokens.size(), 1);
    kinds.back() = 3;  // control
    const std::vector<std::string_view> merges = {"a b"};
    writer.add("tokenizer.ggml.model", "gpt2");
    writer.add("tokenizer.ggml.pre", architecture == "llama" ? "llama-bpe" : "qwen2");
    writer.add_array("tokenizer.ggml.tokens", std::span<const std::string_view>(tokens));
    writer.add_array("tokenizer.ggml.token_type", std::span<const int32_t>(kinds));
    writer.add_array("tokenizer.ggml.merges", std::span<const std::string_view>(merges));
    writer.add("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(size - 1));
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

// The numbers of a vector; empty: they are drawn from a pool.
std::vector<float> numbers_of(const WantedWeight& weight, int64_t count, uint64_t seed) {
    if (weight.kind != WeightShape::vector || is_drawn(weight.id.role)) return {};
    const bool decays = weight.choices.front().as.law == VectorLaw::minus_exp;
    std::vector<float> numbers(static_cast<size_t>(count), decays ? -1.0f : 1.0f);
    if (is_factor(weight.id.role)) {
        const uint64_t stream = seed << 32 ^ static_cast<uint64_t>(weight.id.layer + 1);
        for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = synth_factor(stream, i);
    }
    return numbers;
}

int64_t elements(const std::vector<int64_t>& shape) {
    return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

// The tensors of a GGUF file as they would be made from a directory in F32 of the same shape.
Result<std::vector<SynthTensor>> list_tensors(const GgufSource& source, const std::vector<WantedWeight>& wanted,
                                              const Mix& mix, uint64_t seed) {
    std::vector<SynthTensor> tensors;
    std::vector<TensorInfo> infos;
    for (const SourceTensor& tensor : source.tensors()) {
        infos.push_back(tensor.info);
        SynthTensor& ours = tensors.emplace_back(
            SynthTensor{.name = tensor.info.name, .shape = tensor.info.shape, .numbers = tensor.numbers});
        const auto weight = std::find_if(wanted.begin(), wanted.end(), [&](const WantedWeight& one) {
            return !one.alias_of && one.gguf.tensor == ours.name;
        });
        if (weight != wanted.end()) ours.numbers = numbers_of(*weight, elements(ours.shape), seed);
    }
    const MixModel model = describe_for_mix(infos);
    for (size_t i = 0; i < tensors.size(); ++i) {
        tensors[i].format = choose_format(mix, infos[i], model).chosen;
    }
    return tensors;
}

}  // namespace

int64_t SynthTensor::bytes() const { return elements(shape) / shape.back() * format->row_bytes(shape.back()); }

Result<int64_t> weights_of(const ShapeDocument& shape) {
    TRY_ASSIGN(const DeclaredShape declared, declare_shape(shape));
    int64_t total = 0;
    for (const WantedWeight& weight : declared.wanted) {
        if (weight.alias_of) continue;
        total += elements(weight.shape);
        if (!weight.choices.front().factors.empty()) total += weight.shape.front();
    }
    return total;
}

Result<SynthFile> synth_file(const ShapeDocument& whole, const SynthOptions& options) {
    TRY_ASSIGN(const Mix* mix, find_mix(options.mix));
    TRY_ASSIGN(ShapeDocument shape, with_layers(whole, options.layers));
    shape.fused_plain_experts = true;  // fewer tensors of the same weights
    TRY_ASSIGN(const ModelInMemory model, synthesize_headers(shape, {.mix = "hf-f32", .seed = options.seed}));
    TRY_ASSIGN(const GgufSource source, GgufSource::of(model.checkpoint));
    TRY_ASSIGN(const DeclaredShape declared, declare_shape(shape));
    SynthFile file;
    TRY_ASSIGN(file.tensors, list_tensors(source, declared.wanted, *mix, options.seed));
    GgufWriter& writer = file.writer;
    TRY(source.add_metadata(writer, false));
    writer.add("general.name", fmt::format("{} with random weights, {}", shape.name, mix->name));
    writer.add("general.description", fmt::format("made by invar synth {} {} --seed {}; for measurements", shape.name,
                                                  mix->name, options.seed));
    writer.add("general.file_type", mix->file_type);
    add_vocabulary(writer, shape.vocabulary(), declared.config.architecture);
    for (const SynthTensor& tensor : file.tensors) TRY(writer.add_tensor(tensor.name, *tensor.format, tensor.shape));
    return file;
}

Result<int64_t> synthesize(const ShapeDocument& shape, const SynthOptions& options, const std::filesystem::path& out,
                           const SynthProgress& progress) {
    TRY_ASSIGN(SynthFile file, synth_file(shape, options));
    int64_t total = 0, done = 0;
    for (const SynthTensor& tensor : file.tensors) total += tensor.bytes();
    TRY(file.writer.begin(out));
    std::map<FormatId, BlockPool> pools;
    std::vector<std::byte> piece;
    for (size_t i = 0; i < file.tensors.size(); ++i) {
        const SynthTensor& tensor = file.tensors[i];
        if (!tensor.numbers.empty()) {
            CHECK(tensor.format->id == FormatId::f32, "mixes keep vectors in f32");
            TRY(file.writer.append(std::as_bytes(std::span(tensor.numbers))));
            done += tensor.bytes();
            continue;
        }
        const BlockPool& pool = pools.try_emplace(tensor.format->id, *tensor.format, options.seed).first->second;
        constexpr int64_t kPieceBlocks = 16384;
        for (int64_t left = tensor.bytes(), part = 0; left > 0; ++part) {
            const int64_t bytes = std::min(left, kPieceBlocks * tensor.format->block_bytes);
            piece.resize(static_cast<size_t>(bytes));
            pool.fill(piece, options.seed + (static_cast<uint64_t>(i) << 16) + static_cast<uint64_t>(part));
            TRY(file.writer.append(piece));
            left -= bytes;
            done += bytes;
            if (progress && !progress(done, total)) return fail("stopped; {} was not written", out.string());
        }
    }
    TRY(file.writer.finish());
    return static_cast<int64_t>(file.writer.file_bytes());
}

}  // namespace invar
