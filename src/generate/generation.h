// Generates an answer to a prompt on one sequence: drives a Request (request.h) step by step and delivers its text.
// Commands and tests share this loop. It knows neither chat templates (conversation.h) nor sampling (sampler.h).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "generate/request.h"
#include "generate/session.h"

namespace invar {

struct Generation {
    std::vector<int32_t> tokens;  // the sampled tokens, including the end token
    std::string text;             // whole UTF-8 sequences with the marks of settings.marks, without the stop string
    FinishReason reason = FinishReason::end_token;
    int64_t prompt_tokens = 0, reused_tokens = 0;
    double prompt_seconds = 0, generation_seconds = 0;  // time for the prompt, and for everything after it
};

// Receives text as soon as it is certain (whole UTF-8 sequences, no part of a stop string), or one of settings.marks
// (-1: text). Returning false ends the generation.
using TextSink = std::function<bool(std::string_view text, int32_t mark)>;

Result<Generation> generate(Session& session, const Tokenizer& tokenizer, std::span<const int32_t> prompt,
                            const GenerationSettings& settings, const TextSink& sink, const Progress& progress);

// Runs several requests in common steps, each on its own sequence, until all have finished. In each step, every request
// whose prompt is computed gets one row; the remaining rows go to prompts in order. `failed` holds the error of each
// request that failed; the other requests are not affected.
struct RequestOnSequence {
    Request* request = nullptr;
    int32_t sequence = 0;
    Result<void> failed = {};
};
Result<void> generate_together(Engine& engine, std::span<RequestOnSequence> requests);

}  // namespace invar
