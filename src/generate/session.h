// A sequence that one conversation has on an engine: it goes when this goes, and is cut back to what a new prompt has
// in common with it. It computes nothing; advance_to() and the functions beside it do, in steps of the engine, for
// callers that have one sequence and want its logits. Generations: request.h.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "engine/engine.h"

namespace invar {

class Session {
  public:
    // Nothing is shared with sessions of another salt.
    explicit Session(Engine& engine, std::string_view salt = {})
        : engine_(engine), sequence_(engine.cache().add_sequence(salt)) {}
    ~Session() { engine_.cache().remove_sequence(sequence_); }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    Engine& engine() { return engine_; }
    int32_t sequence() const { return sequence_; }
    // Tokens whose keys and values are in the cache.
    std::span<const int32_t> tokens() const { return engine_.cache().tokens(sequence_); }
    int64_t room() const { return engine_.context() - std::ssize(tokens()); }
    // Makes the sequence hold as long a part of the start of `tokens` as is known, but not all of them: the last one's
    // logits are wanted. How long it is.
    int64_t keep_prefix(std::span<const int32_t> tokens);
    int64_t reused_tokens() const { return reused_; }  // by the last keep_prefix()

  private:
    Engine& engine_;
    int32_t sequence_;
    int64_t reused_ = 0;
};

// Called after every chunk with the tokens computed so far; false stops early.
using Progress = std::function<bool(int64_t done, int64_t total)>;

// Makes the sequence hold exactly `tokens`, computing only what is not known yet (at least the last token), and gives
// the logits that follow the last one, valid until the next pass. Errors: longer than the context; stopped.
Result<std::span<const float>> advance_to(Session& session, std::span<const int32_t> tokens, const Progress& progress);
// Appends one token.
Result<std::span<const float>> append(Session& session, int32_t token);
// Gets the logits of every position in order.
using LogitsSink = std::function<void(int64_t position, std::span<const float> logits)>;
// Forgets everything, then computes all of `tokens`. The engine was opened with logits_rows >= its chunk.
Result<void> logits_of_all(Session& session, std::span<const int32_t> tokens, const LogitsSink& sink);

}  // namespace invar
