// Fuzzes tokenizers with any bytes as vocabulary and text. Creating one, encoding and decoding end in a result or in
// one sentence, nothing is read out of bounds, and an encoded text comes back. The input is one byte of switches and
// then a table of tokens, merges and texts, each after its length.
#include <cstdint>
#include <string>
#include <vector>

#include "require_stream.h"
#include "text/tokenizer/pre_tokenizer.h"
#include "text/tokenizer/tokenizer.h"

namespace {

using namespace invar;

class Input {
  public:
    Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}
    uint8_t byte() { return at_ < size_ ? data_[at_++] : 0; }
    bool empty() const { return at_ >= size_; }
    std::string text(size_t most) {
        const size_t wanted = std::min<size_t>({byte(), most, size_ - at_});
        std::string text(reinterpret_cast<const char*>(data_ + at_), wanted);
        at_ += wanted;
        return text;
    }
    std::string rest() {
        std::string text(reinterpret_cast<const char*>(data_ + at_), size_ - at_);
        at_ = size_;
        return text;
    }

  private:
    const uint8_t* data_;
    size_t size_;
    size_t at_ = 0;
};

// The printable stand-ins of all bytes, which byte-level vocabularies use.
const std::vector<std::string> kStandIns = [] {
    std::vector<std::string> texts(256);
    for (char32_t character = 0; character < 0x144; ++character) {
        if (const auto byte = byte_level_byte(character)) append_utf8(texts[*byte], character);
    }
    return texts;
}();

VocabularySource read_vocabulary(Input& input) {
    const uint8_t switches = input.byte();
    VocabularySource source;
    source.origin = "fuzz";
    source.model = switches & 1 ? "llama" : "gpt2";
    const auto rows = pre_tokenizer_rows();
    const uint8_t row = input.byte();
    source.pre = rows[row % rows.size()].name;
    if (row >= 224) source.model = switches & 1 ? "t5" : "bert";
    const auto add = [&](std::string text, int32_t kind, float score) {
        source.tokens.push_back(std::move(text));
        source.kinds.push_back(kind);
        source.scores.push_back(score);
    };
    if (switches & 2) {  // adds the bytes, so that most texts can be encoded
        for (int byte = 0; byte < 256; ++byte) {
            switches & 1 ? add(fmt::format("<0x{:02X}>", byte), 6, 0) : add(kStandIns[byte], 1, 0);
        }
    }
    for (int count = input.byte() % 64; count > 0; --count) {
        const uint8_t kind = input.byte();
        std::string text = input.text(32);
        add(std::move(text), kind % 8, static_cast<float>(static_cast<int8_t>(input.byte())));
    }
    for (int count = input.byte() % 32; count > 0; --count) source.merges.push_back(input.text(32));
    source.bos = static_cast<int8_t>(input.byte());
    source.eos = static_cast<int8_t>(input.byte());
    source.unknown = static_cast<int8_t>(input.byte());
    if (switches & 4) source.add_bos = switches & 8;
    if (switches & 16) source.add_space_prefix = switches & 32;
    if (switches & 64) source.strip_after.push_back(static_cast<int8_t>(input.byte()));
    if (switches & 128) source.kinds.resize(input.byte());
    if (row >= 240) {
        source.classification = static_cast<int8_t>(input.byte());
        source.separator = static_cast<int8_t>(input.byte());
        source.charsmap = input.text(64);
        source.suppressed.push_back(static_cast<int8_t>(input.byte()));
    }
    return source;
}

// Whether decode(encode(text)) must equal the text. docs/tokenizers.md lists the exceptions.
bool comes_back(const Tokenizer& tokenizer, const std::vector<int32_t>& tokens, const std::string& text, bool strips) {
    if (strips) return false;
    for (const int32_t token : tokens) {
        if (tokenizer.kind(token) == TokenKind::unknown) return false;
    }
    if (tokenizer.model() != "llama") return true;
    if (text.find("\xE2\x96\x81") != std::string::npos) return false;
    // If the vocabulary has no token for the space mark, the mark falls back to its bytes.
    const auto mark = tokenizer.find("\xE2\x96\x81");
    return mark && tokenizer.kind(*mark) == TokenKind::normal;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input input(data, size);
    VocabularySource source = read_vocabulary(input);
    const bool strips = !source.strip_after.empty() || source.model == "t5" || source.model == "bert";
    const Result<Tokenizer> tokenizer = Tokenizer::create(std::move(source));
    if (!tokenizer) {
        require(!tokenizer.error().message.empty());
        return 0;
    }
    for (int32_t token = -2; token < tokenizer->size() + 2; ++token) {
        tokenizer->piece(token);
        tokenizer->is_end_of_generation(token);
    }
    const std::string text = input.rest();
    for (const Specials specials : {Specials::parse, Specials::as_text}) {
        const auto tokens = tokenizer->encode(text, specials, Tokenizer::Ends::none);
        if (!tokens) {
            require(!tokens.error().message.empty());
            continue;
        }
        for (const int32_t token : *tokens) {
            require(tokenizer->has(token));
            // WordPiece knows its special tokens as words, as in the library.
            require(specials == Specials::parse || tokenizer->model() == "WordPiece" ||
                    tokenizer->kind(token) != TokenKind::control);
        }
        const std::string back = tokenizer->decode(*tokens, true);
        if (comes_back(*tokenizer, *tokens, text, strips)) require(back == text);
        require_stream(*tokenizer, *tokens, back);
    }
    return 0;
}
