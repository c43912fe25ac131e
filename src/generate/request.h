// One generation as a state machine. It says which tokens it wants computed next and takes the result of the last of
// them; in between it samples, decodes to text and decides when to stop. It owns no computation and no sequence. Its
// driver (generate() in generation.h, or a scheduler of many requests) owns both and may move a request to another
// sequence at any time, because everything the request asks for is a function of its tokens.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/step.h"
#include "generate/sampler.h"
#include "text/tokenizer/tokenizer.h"

namespace invar {

struct GenerationSettings {
    SamplerSettings sampler;
    int64_t max_tokens = 0;               // 0: generate until the context is full
    std::vector<std::string> stop;        // the text ends before the first occurrence of any of these
    bool ignore_end = false;              // continue past end-of-generation tokens (benchmarks)
    std::vector<int32_t> marks;           // tokens that are delivered apart from the text (text/chat/channels.h)
    SamplerObserver* observer = nullptr;  // sees every choice and changes none
};

enum class FinishReason : uint8_t { end_token, stop_string, max_tokens, context_full, cancelled };
std::string_view finish_reason_name(FinishReason reason);  // "end_token", ...

// Holds text back while it could still be the start of a stop string.
class StopStrings {
  public:
    explicit StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {}
    // Adds text and gives the text that is now certain. Sets stopped() when a stop string is complete.
    std::string feed(std::string_view text);
    std::string finish();  // the text that was held back at the end
    bool stopped() const { return stopped_; }

  private:
    std::vector<std::string> stops_;
    std::string held_;
    bool stopped_ = false;
};

// A piece of generated text, or the text of one of the marks.
struct TextPiece {
    std::string text;
    int32_t mark = -1;  // -1: text
};

class Request {
  public:
    // What the driver's engine can do.
    struct Limits {
        int64_t context = 0, vocabulary = 0;
        bool ranks = false;  // Engine::ranks_on_device()
    };
    // The tokenizer must outlive the request. Errors: an empty prompt, a prompt longer than the context, invalid
    // settings.
    static Result<Request> create(const Tokenizer& tokenizer, std::span<const int32_t> prompt,
                                  GenerationSettings settings, const Limits& limits);

    // The prompt, followed by the sampled tokens.
    std::span<const int32_t> tokens() const { return tokens_; }
    std::span<const int32_t> sampled() const { return std::span(tokens_).subspan(prompt_tokens_); }
    int64_t prompt_tokens() const { return static_cast<int64_t>(prompt_tokens_); }

    // The next piece to compute, of at most `most` rows, for a sequence that holds the first `computed` tokens. A piece
    // that does not reach the last token wants no result. The piece is valid until the next call of take().
    Result<StepPiece> next_piece(int32_t sequence, int64_t computed, int64_t most);
    // Takes the result of a piece that wanted one, and samples a token or finishes.
    Result<void> take(const StepOutput& output);
    void cancel() { finish(FinishReason::cancelled); }

    // What has become certain since the last call, without the stop string: whole UTF-8 sequences, and whole marks (of
    // one in which a stop string began, the rest is text). Stop strings are searched in the text with the marks.
    std::vector<TextPiece> take_pieces();
    std::string take_text();  // the same, joined
    std::optional<FinishReason> finished() const { return finished_; }

  private:
    Request(const Tokenizer& tokenizer, std::span<const int32_t> prompt, GenerationSettings settings,
            const Limits& limits);
    void finish(FinishReason reason);
    void add_text(std::string_view text);

    const Tokenizer* tokenizer_;
    GenerationSettings settings_;
    Limits limits_;
    Sampler sampler_;
    size_t prompt_tokens_;
    std::vector<int32_t> tokens_;
    TokenStream stream_;
    StopStrings stops_;
    std::string text_;  // certain, and not yet taken
    struct Mark {
        size_t begin, end;  // bytes since the first token
        int32_t token;
    };
    std::vector<Mark> open_marks_;              // not yet taken
    size_t given_bytes_ = 0, taken_bytes_ = 0;  // to the stop strings; by the caller
    std::optional<FinishReason> finished_;
};

}  // namespace invar
