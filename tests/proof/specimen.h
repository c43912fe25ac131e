// A tiny sound model with a tokenizer and a chat template as bytes in memory, and ways to damage it in one known place:
// what the tests of the audit and of the comparison of checkpoints start from. Places are computed here from the
// formats' published layouts, not with the functions under test.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "files/checkpoint.h"
#include "models/tiny_model.h"

namespace invar::test {

// The 256 stand-ins of byte-level vocabularies in byte order (the rule is GPT-2's), a few merged tokens, special ones.
inline std::vector<std::string> specimen_tokens() {
    std::vector<std::string> tokens;
    int next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
        const bool own = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
        const int character = own ? byte : next++;
        if (character < 0x80) {
            tokens.push_back(std::string(1, static_cast<char>(character)));
        } else {
            tokens.push_back({static_cast<char>(0xC0 | character >> 6), static_cast<char>(0x80 | (character & 0x3F))});
        }
    }
    for (const char* text : {"th", "the", "in", "<|bos|>", "<|start|>", "<|end|>"}) tokens.push_back(text);
    return tokens;
}
inline constexpr int32_t kSpecimenBos = 259, kSpecimenStart = 260, kSpecimenEnd = 261, kSpecimenTokens = 262;

struct SpecimenText {
    std::vector<std::string> tokens = specimen_tokens();
    std::vector<int32_t> kinds = [] {
        std::vector<int32_t> all(kSpecimenTokens, 1);
        all[kSpecimenBos] = all[kSpecimenStart] = all[kSpecimenEnd] = 3;
        return all;
    }();
    std::vector<std::string> merges = {"t h", "th e", "i n"};
    int64_t bos = kSpecimenBos, eos = kSpecimenEnd;  // -1: left out
    bool add_bos = true;
    std::string chat_template =
        "{% for m in messages %}<|start|>{{ m.role }}: {{ m.content }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|start|>assistant: {% endif %}";

    void write(GgufWriter& writer) const {
        const std::vector<std::string_view> token_views(tokens.begin(), tokens.end()),
            merge_views(merges.begin(), merges.end());
        writer.add("tokenizer.ggml.model", "gpt2");
        writer.add("tokenizer.ggml.pre", "qwen2");
        writer.add_array("tokenizer.ggml.tokens", std::span<const std::string_view>(token_views));
        writer.add_array("tokenizer.ggml.token_type", std::span<const int32_t>(kinds));
        writer.add_array("tokenizer.ggml.merges", std::span<const std::string_view>(merge_views));
        if (bos >= 0) writer.add("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(bos));
        if (eos >= 0) writer.add("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(eos));
        writer.add("tokenizer.ggml.add_bos_token", add_bos);
        if (!chat_template.empty()) writer.add("tokenizer.chat_template", chat_template);
    }
};

class Specimen {
  public:
    explicit Specimen(TinyModel model, SpecimenText text = {}) {
        const auto edit = model.edit_metadata;
        model.edit_metadata = [=](GgufWriter& writer) {
            text.write(writer);
            if (edit) edit(writer);
        };
        bytes_ = model.bytes();
    }

    Checkpoint open() const { return Checkpoint::from_bytes(bytes_, "model.gguf").value(); }
    const std::vector<std::byte>& bytes() const { return bytes_; }

    // The bytes of a tensor, to be changed, and where they begin in the file.
    std::span<std::byte> tensor(std::string_view name) {
        const Place place = find(name);
        return std::span(bytes_).subspan(static_cast<size_t>(place.offset), static_cast<size_t>(place.bytes));
    }
    int64_t offset(std::string_view name) const { return find(name).offset; }
    // The block at (row, column) of a tensor whose experts are stacked rows.
    std::span<std::byte> block(std::string_view name, int64_t index) {
        const int64_t bytes = find(name).format->block_bytes;
        return tensor(name).subspan(static_cast<size_t>(index * bytes), static_cast<size_t>(bytes));
    }
    std::span<std::byte> row(std::string_view name, int64_t index) {
        const Place place = find(name);
        return tensor(name).subspan(static_cast<size_t>(index * place.row_bytes), static_cast<size_t>(place.row_bytes));
    }
    // Writes values over the whole tensor, encoded in its format.
    void encode(std::string_view name, const std::vector<float>& values) {
        const std::span<std::byte> place = tensor(name);
        find(name).format->encode(values.data(), static_cast<int64_t>(values.size()), nullptr, place.data());
    }
    std::vector<float> decode(std::string_view name) {
        const Place place = find(name);
        std::vector<float> values(static_cast<size_t>(place.weights));
        place.format->decode(bytes_.data() + place.offset, place.weights, values.data());
        return values;
    }

  private:
    struct Place {
        int64_t offset, bytes, row_bytes, weights;
        const Format* format;
    };
    Place find(std::string_view name) const {
        const Checkpoint file = open();
        const TensorInfo* info = file.find(name);
        CHECK(info != nullptr, "the specimen has the tensor");
        return {.offset = info->data - bytes_.data(),
                .bytes = static_cast<int64_t>(info->bytes),
                .row_bytes = static_cast<int64_t>(info->row_bytes()),
                .weights = info->weights(),
                .format = info->format};
    }

    std::vector<std::byte> bytes_;
};

inline void put_u16(std::span<std::byte> bytes, size_t at, uint16_t value) { std::memcpy(&bytes[at], &value, 2); }
inline uint16_t get_u16(std::span<const std::byte> bytes, size_t at) {
    uint16_t value;
    std::memcpy(&value, &bytes[at], 2);
    return value;
}

}  // namespace invar::test
