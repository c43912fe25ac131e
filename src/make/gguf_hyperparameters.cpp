// Chooses the keys by what the architecture's reader asks for, and reads them again: see gguf_hyperparameters.h.
#include "make/gguf_hyperparameters.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "base/huge_pages.h"
#include "formats/format.h"
#include "make/gguf_quantities.h"
#include "models/architecture.h"
#include "models/hyperparameters.h"

namespace invar {
namespace {

// Keys that our readers do without and other programs need.
struct Kept {
    std::string_view architecture;  // "": any
    std::string_view word;
    std::string_view beside = {};  // only where the reader asks for this one
};
constexpr Kept kKept[] = {
    {"", "vocabulary"},
    {"", "ffn width"},         // a model of experts alone states one all the same
    {"", "value width"},       // of latent attention
    {"", "causal attention"},  // false for encoders
    {"modern-bert", "epsilon of LayerNorms"},
    {"", "used expert groups", "expert groups"},
    {"qwen35", "rope sections"},
    {"qwen35moe", "rope sections"},
    {"qwen35", "attention interval"},  // of programs from before "recurrent layers"
    {"qwen35moe", "attention interval"},
    {"qwen3next", "attention interval"},
    {"ernie4_5-moe", "shared experts"},
    {"hunyuan-moe", "shared experts"},
};

bool is_wanted(std::string_view architecture, std::string_view word, const AskedWords& asked) {
    return asked.has(word) || std::any_of(std::begin(kKept), std::end(kKept), [&](const Kept& one) {
               return one.word == word && (one.architecture.empty() || one.architecture == architecture) &&
                      (one.beside.empty() || asked.has(one.beside));
           });
}

// The name of the architecture in the file: of a model of experts it may be another.
std::string_view gguf_architecture(const ModelConfig& config) {
    for (const Architecture* architecture : architectures()) {
        if (architecture->name != config.architecture) continue;
        const bool experts = config.most_experts() > 0 && !architecture->gguf_with_experts.empty();
        return experts ? architecture->gguf_with_experts : architecture->name;
    }
    return config.architecture;
}

class ValueWriter {
  public:
    ValueWriter(GgufWriter& writer, std::string key, bool as_number)
        : writer_(writer), key_(std::move(key)), as_number_(as_number) {}

    void operator()(int64_t value) {
        if (as_number_) return (*this)(static_cast<double>(value));
        if (value >= 0 && value <= UINT32_MAX) return writer_.add(key_, static_cast<uint32_t>(value));
        writer_.add(key_, value);
    }
    void operator()(double value) { writer_.add(key_, static_cast<float>(value)); }
    void operator()(bool value) { writer_.add(key_, value); }
    void operator()(const std::string& value) { writer_.add(key_, std::string_view(value)); }
    void operator()(const std::vector<int64_t>& values) {
        std::vector<int32_t> numbers;
        for (const int64_t each : values)
            numbers.push_back(static_cast<int32_t>(std::min<int64_t>(each, std::numeric_limits<int32_t>::max())));
        writer_.add_array(key_, std::span<const int32_t>(numbers));
    }
    void operator()(const std::vector<bool>& values) {
        const std::vector<uint8_t> truths(values.begin(), values.end());
        writer_.add_booleans(key_, truths);
    }

  private:
    GgufWriter& writer_;
    std::string key_;
    bool as_number_;
};

// One number where all layers have the same.
GgufValue shortened(const GgufQuantity& quantity) {
    const auto* all = std::get_if<std::vector<int64_t>>(&quantity.value);
    const bool same = all != nullptr && quantity.word != "rope sections" &&
                      std::all_of(all->begin(), all->end(), [&](int64_t one) { return one == all->front(); });
    return same ? GgufValue(all->front()) : quantity.value;
}

void write(std::span<const GgufQuantity> quantities, std::string_view architecture, const AskedWords* asked,
           GgufWriter& writer) {
    for (const GgufQuantity& quantity : quantities) {
        if (asked != nullptr && !is_wanted(architecture, quantity.word, *asked)) continue;
        const bool as_number = asked != nullptr && asked->as_number(quantity.word);
        std::visit(ValueWriter(writer, fmt::format("{}.{}", architecture, quantity.key), as_number),
                   shortened(quantity));
    }
}

void write_general(const ModelConfig& config, GgufWriter& writer) {
    writer.add("general.architecture", gguf_architecture(config));
    writer.add("general.type", "model");
    writer.add("general.name", config.name);
}

// The bytes of a file whose tensors are zeros, which take no memory, but for the first ones. Null: there are no
// addresses for so many.
std::shared_ptr<std::byte> file_of_zeros(const GgufWriter& writer, std::span<const ComputedTensor> first) {
    std::shared_ptr<std::byte> file = map_huge_pages(writer.file_bytes(), MemoryPromise::none);
    if (file == nullptr) return file;
    const std::vector<std::byte> header = writer.header();
    std::byte* at = std::copy(header.begin(), header.end(), file.get());
    for (const ComputedTensor& tensor : first) {
        const std::span<const std::byte> numbers = std::as_bytes(std::span(tensor.numbers));
        std::copy(numbers.begin(), numbers.end(), at);
        at += (numbers.size() + kGgufDefaultAlignment - 1) / kGgufDefaultAlignment * kGgufDefaultAlignment;
    }
    return file;
}

// What the reader of such files makes of these keys.
struct Reading {
    const Checkpoint& directory;
    const ModelConfig& config;
    std::span<const TensorInfo> tensors;

    Result<ModelConfig> of(std::span<const GgufQuantity> quantities, const AskedWords* asked) const;
};

Result<ModelConfig> Reading::of(std::span<const GgufQuantity> quantities, const AskedWords* asked) const {
    GgufWriter writer;
    write_general(config, writer);
    write(quantities, gguf_architecture(config), asked, writer);
    const std::vector<ComputedTensor> computed = gguf_rope_tensors(config);
    for (const ComputedTensor& tensor : computed) {
        const int64_t shape[] = {std::ssize(tensor.numbers)};
        TRY(writer.add_tensor(tensor.name, format(FormatId::f32), shape));
    }
    for (const TensorInfo& tensor : tensors) TRY(writer.add_tensor(tensor.name, format(FormatId::f32), tensor.shape));
    const std::shared_ptr<std::byte> file = file_of_zeros(writer, computed);
    if (file == nullptr) return fail("there are no addresses for the {} bytes of its tensors", writer.file_bytes());
    TRY_ASSIGN(const Checkpoint written, Checkpoint::from_bytes({file.get(), writer.file_bytes()}, "the GGUF file"));
    TRY_ASSIGN(const Architecture* architecture, find_architecture(written));
    // Without a choice by what the reader asks for, there are keys that it does not know.
    return asked == nullptr ? architecture->read_config.with_any_keys(written) : architecture->read_config(written);
}

std::optional<double> as_number(const std::string& text) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

// Whether they differ by a rounding to binary32 alone.
bool is_rounding(const std::string& exact, const std::string& rounded) {
    const std::optional<double> a = as_number(exact), b = as_number(rounded);
    if (!a || !b) return false;
    // A factor that follows from a rounded one differs by as little.
    return static_cast<float>(*a) == static_cast<float>(*b) ||
           std::abs(*a - *b) <= std::abs(*a) * static_cast<double>(std::numeric_limits<float>::epsilon());
}

Result<std::vector<std::string>> compare(const std::string& file, const ModelConfig& config, ModelConfig written) {
    std::vector<std::string> notes;
    std::vector<ConfigField> ours = fields_of(config), theirs = fields_of(written);
    ours.push_back({"the vocabulary", fmt::format("{}", config.vocabulary)});
    theirs.push_back({"the vocabulary", fmt::format("{}", written.vocabulary)});
    ours.push_back({"the context", fmt::format("{}", config.context_length)});
    theirs.push_back({"the context", fmt::format("{}", written.context_length)});
    for (size_t i = 0; i < std::max(ours.size(), theirs.size()); ++i) {
        const bool both = i < ours.size() && i < theirs.size() && ours[i].name == theirs[i].name;
        if (both && ours[i].value == theirs[i].value) continue;
        if (both && is_rounding(ours[i].value, theirs[i].value)) {
            notes.push_back(
                fmt::format("{} is {}, which a GGUF file holds as {}", ours[i].name, ours[i].value, theirs[i].value));
            continue;
        }
        const ConfigField& field = i < ours.size() ? ours[i] : theirs[i];
        return fail(ErrorKind::unsupported,
                    "{}: {} is {}, but a GGUF file of architecture '{}' has no key that says it: it would mean {}; use "
                    "the directory itself",
                    file, field.name, i < ours.size() ? field.value : "not there", config.architecture,
                    both ? theirs[i].value : "a model of other parts");
    }
    return notes;
}

}  // namespace

std::vector<ComputedTensor> gguf_rope_tensors(const ModelConfig& config) {
    std::vector<ComputedTensor> tensors;
    if (config.ropes.empty()) return tensors;
    const RopeSpec& rope = config.ropes.front();
    if (!rope.long_factors.empty()) {
        tensors.push_back({"rope_factors_long.weight", rope.long_factors});
        tensors.push_back({"rope_factors_short.weight", rope.frequency_factors});
    } else if (!rope.frequency_factors.empty()) {
        tensors.push_back({"rope_freqs.weight", rope.frequency_factors});
    } else if (rope.turning_pairs > 0) {
        std::vector<float> factors(static_cast<size_t>(rope.pairs()), 1e30f);  // such a pair does not turn
        std::fill_n(factors.begin(), rope.turning_pairs, 1.0f);
        tensors.push_back({"rope_freqs.weight", std::move(factors)});
    }
    return tensors;
}

Result<std::vector<std::string>> write_gguf_hyperparameters(const Checkpoint& directory, const ModelConfig& config,
                                                            std::span<const TensorInfo> tensors, GgufWriter& writer) {
    const std::vector<GgufQuantity> quantities = gguf_quantities(directory, config);
    const Reading reading{directory, config, tensors};
    const AskedWords asked;
    if (const auto whole = reading.of(quantities, nullptr); !whole) {
        return fail(whole.error().kind, "{}: a GGUF file of architecture '{}' cannot hold this model: {}",
                    directory.name(), config.architecture, whole.error().message);
    }
    TRY_ASSIGN(const ModelConfig written, reading.of(quantities, &asked));
    TRY_ASSIGN(std::vector<std::string> notes, compare(directory.name(), config, written));
    write_general(config, writer);
    write(quantities, gguf_architecture(config), &asked, writer);
    return notes;
}

}  // namespace invar
