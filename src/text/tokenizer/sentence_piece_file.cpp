// The message field by field, as sentencepiece's description of it numbers them. Read sentence_piece_file.h first.
#include "text/tokenizer/sentence_piece_file.h"

#include <cmath>

#include "text/tokenizer/protobuf.h"
#include "text/tokenizer/vocabulary.h"

namespace invar {
namespace {

constexpr size_t kMostPieces = size_t{1} << 22;
constexpr size_t kMostPieceBytes = 8000;

// Calls `use(field)` for each field of a message.
template <class Use>
Result<void> for_each_field(std::string_view message, Use&& use) {
    ProtobufReader reader(message);
    while (!reader.done()) {
        TRY_ASSIGN(const ProtobufField field, reader.next());
        TRY(use(field));
    }
    return {};
}

Result<void> read_piece(std::string_view message, SentencePieceFile& model) {
    std::string text;
    float score = 0;
    int32_t kind = 1;
    TRY(for_each_field(message, [&](const ProtobufField& field) -> Result<void> {
        if (field.number == 1) text = field.bytes;
        if (field.number == 2) score = field.real();
        if (field.number == 3) kind = field.integer();
        return {};
    }));
    const size_t id = model.pieces.size();
    if (id >= kMostPieces) return fail("more than {} pieces", kMostPieces);
    if (text.size() > kMostPieceBytes) return fail("piece {} has {} bytes", id, text.size());
    if (!std::isfinite(score)) return fail("piece {} has the score {}", id, score);
    if (kind < 1 || kind > 6) return fail("piece {} is of kind {}, which does not exist", id, kind);
    if (kind == static_cast<int32_t>(TokenKind::byte) && !byte_token_byte(text)) {
        return fail("piece {} is of kind byte, but does not read like '<0x0A>'", id);
    }
    model.pieces.push_back(std::move(text));
    model.scores.push_back(score);
    model.kinds.push_back(kind);
    return {};
}

Result<void> read_trainer(std::string_view message, SentencePieceFile& model) {
    return for_each_field(message, [&](const ProtobufField& field) -> Result<void> {
        if (field.number == 3) model.type = field.integer();
        if (field.number == 24) model.space_as_suffix = field.flag();
        if (field.number == 46) model.bos = field.bytes;
        if (field.number == 47) model.eos = field.bytes;
        if (field.number == 48) model.padding = field.bytes;
        return {};
    });
}

Result<void> read_normalizer_spec(std::string_view message, SentencePieceFile& model) {
    return for_each_field(message, [&](const ProtobufField& field) -> Result<void> {
        if (field.number == 2) model.charsmap = field.bytes;
        if (field.number == 3) model.add_dummy_prefix = field.flag();
        if (field.number == 4) model.remove_extra_whitespaces = field.flag();
        if (field.number == 5) model.escape_whitespaces = field.flag();
        return {};
    });
}

}  // namespace

Result<SentencePieceFile> read_sentence_piece_file(std::string_view bytes) {
    SentencePieceFile model;
    TRY(for_each_field(bytes, [&](const ProtobufField& field) -> Result<void> {
        if (field.number == 1) return read_piece(field.bytes, model);
        if (field.number == 2) return read_trainer(field.bytes, model);
        if (field.number == 3) return read_normalizer_spec(field.bytes, model);
        if (field.number != 5) return {};
        return for_each_field(field.bytes, [&](const ProtobufField& inner) -> Result<void> {
            if (inner.number == 2) model.denormalizer = inner.bytes;
            return {};
        });
    }));
    if (model.pieces.empty()) return fail("it has no pieces, so it is no sentencepiece model");
    if (model.type != 1 && model.type != 2)
        return fail("its model is of type {}; 1 (Unigram) and 2 (BPE) are supported", model.type);
    if (model.space_as_suffix)
        return fail("it puts spaces behind words (treat_whitespace_as_suffix), which is not supported");
    if (!model.escape_whitespaces)
        return fail("it does not escape spaces (escape_whitespaces), which is not supported");
    if (!model.denormalizer.empty()) return fail("it has a denormaliser, which is not supported");
    return model;
}

}  // namespace invar
