// From a prompt to an answer on one sequence: drives a Request (request.h) step by step, and delivers its text. One
// loop for commands and tests; it does not know chat templates (conversation.h) nor how a token is chosen (sampler.h).
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
    std::vector<int32_t> tokens;  // sampled, the end token included
    std::string text;             // whole UTF-8 sequences, without the stop string
    FinishReason reason = FinishReason::end_token;
    int64_t prompt_tokens = 0, reused_tokens = 0;
    double prompt_seconds = 0, generation_seconds = 0;  // of computing the prompt; of all that follows
};

// Gets text as it becomes certain (whole UTF-8 sequences, no part of a stop string); false ends the generation.
using TextSink = std::function<bool(std::string_view text)>;

Result<Generation> generate(Session& session, const Tokenizer& tokenizer, std::span<const int32_t> prompt,
                            const GenerationSettings& settings, const TextSink& sink, const Progress& progress);

// Several requests in common steps, each on a sequence of its own, until all have finished: every request that has its
// prompt behind it gets its row in each step, and the rows that are left go to prompts in their order. `failed` has the
// error of each request that one struck; the others do not notice.
struct RequestOnSequence {
    Request* request = nullptr;
    int32_t sequence = 0;
    Result<void> failed = {};
};
Result<void> generate_together(Engine& engine, std::span<RequestOnSequence> requests);

}  // namespace invar
