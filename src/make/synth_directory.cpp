// Cuts the tensors into shards, fills them from pools, and writes the JSON files beside them, in a folder that gets its
// name at the end: see synth_directory.h.
#include "make/synth_directory.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <system_error>

#include "arithmetic/float_types.h"
#include "arithmetic/philox.h"
#include "base/check.h"
#include "base/json.h"
#include "make/synth_documents.h"
#include "make/synth_layers.h"

namespace invar {
namespace {

namespace fs = std::filesystem;

// A folder that gets its name when it is complete, and is removed otherwise.
class PartialFolder {
  public:
    static Result<PartialFolder> create(const fs::path& target) {
        std::error_code error;
        if (fs::exists(fs::symlink_status(target, error)))
            return fail("{}: exists already; give another name", target.string());
        PartialFolder folder(target);
        if (!fs::create_directory(folder.partial_, error)) {
            return fail("{}: cannot be made ({})", folder.partial_.string(),
                        error ? error.message() : "it is there from an earlier try; remove it");
        }
        folder.made_ = true;
        return folder;
    }
    PartialFolder(PartialFolder&& other) noexcept
        : target_(std::move(other.target_)),
          partial_(std::move(other.partial_)),
          made_(std::exchange(other.made_, false)) {}
    ~PartialFolder() {
        std::error_code ignored;
        if (made_) fs::remove_all(partial_, ignored);
    }

    fs::path operator/(const std::string& name) const { return partial_ / name; }
    Result<void> complete() {
        std::error_code error;
        fs::rename(partial_, target_, error);
        if (error) return fail("{}: cannot get its name ({})", target_.string(), error.message());
        made_ = false;
        return {};
    }

  private:
    explicit PartialFolder(const fs::path& target) : target_(target), partial_(target.string() + ".partial") {}

    fs::path target_, partial_;
    bool made_ = false;
};

std::string json_text(const Json& value) { return value.dump(2) + "\n"; }

void write_number(std::vector<std::byte>& out, size_t place, Dtype dtype, float value) {
    const auto put = [&](auto number) { std::memcpy(out.data() + place * sizeof(number), &number, sizeof(number)); };
    switch (dtype) {
        case Dtype::f32:
            return put(value);
        case Dtype::f16:
            return put(f32_to_f16(value));
        case Dtype::bf16:
            return put(f32_to_bf16(value));
        case Dtype::f8_e8m0:
            return put(static_cast<uint8_t>(std::ilogb(value) + 127));
        default:
            CHECK(false, "scales have one of these types");
    }
}

class Writer {
  public:
    Writer(const PartialFolder& folder, SynthPools& pools, const SynthProgress& progress, int64_t total)
        : folder_(folder), pools_(pools), progress_(progress), total_(total) {}

    Result<void> write_shard(const std::string& name, std::vector<const SynthDirectoryTensor*> tensors) {
        widest_first(tensors);
        std::vector<SafeTensorsDeclaration> declarations;
        for (const SynthDirectoryTensor* tensor : tensors) declarations.push_back(tensor->declaration);
        TRY_ASSIGN(SafeTensorsStream stream,
                   SafeTensorsStream::create(folder_ / name, {{"format", "pt"}}, declarations));
        for (const SynthDirectoryTensor* tensor : tensors) TRY(write_tensor(stream, *tensor));
        return stream.finish();
    }

    Result<void> write_text(const std::string& name, std::string_view text) {
        TRY_ASSIGN(AtomicFile file, AtomicFile::create(folder_ / name));
        TRY(file.write(std::as_bytes(std::span(text))));
        done_ += static_cast<int64_t>(text.size());
        return file.commit();
    }
    Result<void> write_json(const std::string& name, const Json& value) { return write_text(name, json_text(value)); }

    int64_t done() const { return done_; }

  private:
    Result<void> write_tensor(SafeTensorsStream& stream, const SynthDirectoryTensor& tensor) {
        if (tensor.fill != SynthFill::pool) return append(stream, small_tensor(tensor));
        const SynthPool& pool = pools_.of(tensor.pool);
        constexpr int64_t kPieceGroups = 16384;
        const int64_t group_bytes = pool.bytes_of_group(tensor.plane);
        int64_t left = static_cast<int64_t>(tensor.declaration.bytes());
        for (int64_t first = 0; left > 0; first += kPieceGroups) {
            piece_.resize(static_cast<size_t>(std::min(left, kPieceGroups * group_bytes)));
            pool.fill(tensor.plane, tensor.stream, first, piece_);
            TRY(append(stream, piece_));
            left -= static_cast<int64_t>(piece_.size());
        }
        return {};
    }

    Result<void> append(SafeTensorsStream& stream, std::span<const std::byte> bytes) {
        TRY(stream.append(bytes));
        done_ += static_cast<int64_t>(bytes.size());
        if (progress_ && !progress_(std::min(done_, total_), total_)) return fail("stopped; no directory was written");
        return {};
    }

    const PartialFolder& folder_;
    SynthPools& pools_;
    const SynthProgress& progress_;
    int64_t total_, done_ = 0;
    std::vector<std::byte> piece_;
};

// Cuts the tensors into runs of at most `most` bytes each.
std::vector<std::vector<const SynthDirectoryTensor*>> cut(const std::vector<SynthDirectoryTensor>& tensors,
                                                          uint64_t most) {
    std::vector<std::vector<const SynthDirectoryTensor*>> shards;
    uint64_t filled = 0;
    for (const SynthDirectoryTensor& tensor : tensors) {
        const uint64_t bytes = tensor.declaration.bytes();
        if (shards.empty() || filled + bytes > most) {
            shards.emplace_back();
            filled = 0;
        }
        shards.back().push_back(&tensor);
        filled += bytes;
    }
    return shards;
}

Result<void> write_weights(Writer& writer, const SynthModel& model, uint64_t shard_bytes, int64_t total) {
    const auto shards = cut(model.tensors, shard_bytes);
    if (shards.size() == 1) return writer.write_shard("model.safetensors", shards[0]);
    std::map<std::string, std::string> shard_of;
    for (size_t i = 0; i < shards.size(); ++i) {
        const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
        for (const SynthDirectoryTensor* tensor : shards[i]) shard_of[tensor->declaration.name] = name;
        TRY(writer.write_shard(name, shards[i]));
    }
    Json map = Json::object();
    for (const auto& [tensor, shard] : shard_of) map.get_ref<Json::object_t&>().emplace_back(tensor, shard);
    Json index = {{"metadata", {{"total_size", total}}}};
    index["weight_map"] = std::move(map);
    return writer.write_json("model.safetensors.index.json", index);
}

}  // namespace

bool is_directory_format(std::string_view format) { return format.starts_with("hf-"); }

void widest_first(std::vector<const SynthDirectoryTensor*>& tensors) {
    std::stable_sort(tensors.begin(), tensors.end(), [](const auto* a, const auto* b) {
        return dtype_bits(a->declaration.dtype) > dtype_bits(b->declaration.dtype);
    });
}

std::vector<std::byte> small_tensor(const SynthDirectoryTensor& tensor) {
    std::vector<std::byte> bytes(tensor.declaration.bytes());
    const Dtype dtype = tensor.declaration.dtype;
    if (tensor.fill == SynthFill::integers) {
        std::memcpy(bytes.data(), tensor.integers.data(), bytes.size());
        return bytes;
    }
    const size_t count = bytes.size() * 8 / static_cast<size_t>(dtype_bits(dtype));
    for (size_t i = 0; i < count; ++i) {
        float factor = 1.0f;
        if (tensor.fill == SynthFill::pool_scales) factor += 0.25f * law::uniform(tensor.stream, i, 3);
        if (tensor.fill == SynthFill::factors) factor = synth_factor(tensor.stream, i);
        write_number(bytes, i, dtype, tensor.value * factor);
    }
    return bytes;
}

Result<SynthDirectory> synth_directory(const ShapeDocument& shape, const SynthOptions& options) {
    TRY_ASSIGN(const DirectoryFormat* format, find_directory_format(options.mix));
    SynthDirectory directory;
    TRY_ASSIGN(directory.model, synth_model(shape, *format, options.seed));
    const SynthModel& model = directory.model;
    const std::string dtype = format->plain == LinearScheme::f32   ? "float32"
                              : format->plain == LinearScheme::f16 ? "float16"
                                                                   : "bfloat16";
    const Json quantization = quantization_config(model.format, model.ignore, model.quantized);
    directory.configs.emplace_back("config.json", json_text(synth_config(shape, dtype, quantization)));
    const Json hf_quant = hf_quant_config(model.format, model.ignore, model.quantized);
    if (!hf_quant.is_null()) directory.configs.emplace_back("hf_quant_config.json", json_text(hf_quant));
    return directory;
}

Result<int64_t> synthesize_directory(const ShapeDocument& whole, const SynthOptions& options, const fs::path& out,
                                     const SynthProgress& progress, uint64_t shard_bytes) {
    TRY_ASSIGN(const ShapeDocument shape, with_layers(whole, options.layers));
    TRY_ASSIGN(const SynthDirectory directory, synth_directory(shape, options));
    int64_t total = 0;
    for (const SynthDirectoryTensor& tensor : directory.model.tensors)
        total += static_cast<int64_t>(tensor.declaration.bytes());

    TRY_ASSIGN(PartialFolder folder, PartialFolder::create(out));
    SynthPools pools(options.seed);
    Writer writer(folder, pools, progress, total);
    TRY(write_weights(writer, directory.model, shard_bytes, total));
    for (const auto& [name, text] : directory.configs) TRY(writer.write_text(name, text));
    TRY(writer.write_json("generation_config.json", synth_generation_config(shape)));
    TRY(writer.write_text("tokenizer.json", synth_tokenizer(shape)));
    const Json tokenizer_config = synth_tokenizer_config(shape);
    TRY(writer.write_json("tokenizer_config.json", tokenizer_config));
    if (!tokenizer_config.contains("chat_template")) {
        TRY(writer.write_text("chat_template.jinja", synth_chat_template()));
    }
    TRY(folder.complete());
    return writer.done();
}

}  // namespace invar
