// The loop from a prompt to an answer: sample, append, decode to text, stop. One loop for every caller (command line,
// server, tests); it does not know chat templates (conversation.h) nor how a token is chosen (sampler.h).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "generate/sampler.h"
#include "generate/session.h"
#include "text/tokenizer/tokenizer.h"

namespace invar {

struct GenerationSettings {
    SamplerSettings sampler;
    int64_t max_tokens = 0;               // 0: until the context is full
    std::vector<std::string> stop;        // the text ends before the first of these
    bool ignore_end = false;              // go on past end-of-generation tokens (benchmarks)
    SamplerObserver* observer = nullptr;  // of every choice; it changes none
};

enum class FinishReason : uint8_t { end_token, stop_string, max_tokens, context_full, cancelled };
std::string_view finish_reason_name(FinishReason reason);  // "end_token", ...

struct Generation {
    std::vector<int32_t> tokens;  // sampled, the end token included
    std::string text;             // whole UTF-8 sequences, without the stop string
    FinishReason reason = FinishReason::end_token;
    int64_t prompt_tokens = 0, reused_tokens = 0;
    double prompt_seconds = 0, generation_seconds = 0;  // of computing the prompt; of all that follows
};

// Gets text as it becomes certain (whole UTF-8 sequences, no part of a stop string); false ends the generation.
using TextSink = std::function<bool(std::string_view text)>;

Result<Generation> generate(Session& session, const Tokenizer& tokenizer, std::span<const int32_t> prompt,
                            const GenerationSettings& settings, const TextSink& sink,
                            const Session::Progress& progress);

// Holds text back while it could still be the start of a stop string.
class StopStrings {
  public:
    explicit StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {}
    // Text that is certain after `text` was added; sets stopped() when a stop string is complete.
    std::string feed(std::string_view text);
    std::string finish();  // what was held back at the end
    bool stopped() const { return stopped_; }

  private:
    std::vector<std::string> stops_;
    std::string held_;
    bool stopped_ = false;
};

}  // namespace invar
