// A Session owns one sequence of an engine for one conversation. It removes the sequence when it is destroyed and cuts
// it back to what a new prompt shares with it. It computes nothing: advance_to() and the functions beside it run the
// engine for callers that have one sequence and want its logits. Generation is in request.h.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "engine/engine.h"

namespace invar {

class Session {
  public:
    // Sessions share cached prefixes only with sessions of the same salt.
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
    // Makes the sequence hold the longest known prefix of `tokens`, without the last token, whose logits are wanted.
    // Gives the length of that prefix.
    int64_t keep_prefix(std::span<const int32_t> tokens);
    int64_t reused_tokens() const { return reused_; }  // of the last call of keep_prefix()

  private:
    Engine& engine_;
    int32_t sequence_;
    int64_t reused_ = 0;
};

// How many of the `left` tokens of a prompt the next piece takes, of at most `most`, if `computed` tokens are held. In
// front of the last piece it ends at a multiple of 64 if the model has recurrences, so that a snapshot can be taken
// there that other sequences can attach to.
int64_t piece_of_prompt(Engine& engine, int64_t computed, int64_t left, int64_t most);
// Takes a snapshot of recurrences if the sequence is at the end of its prompt or at a multiple of 64 within it. The
// plan says how many there can be; older ones give way.
Result<void> keep_state_of_prompt(Engine& engine, int32_t sequence, int64_t prompt_tokens);

// That a prompt or a text is longer than the context, of which `trained` says how long it can be at most.
tl::unexpected<Error> too_long(std::string_view what, size_t tokens, int64_t context, int64_t trained);

// Called after every chunk with the number of tokens computed so far. Returning false stops early.
using Progress = std::function<bool(int64_t done, int64_t total)>;

// Makes the sequence hold exactly `tokens` and gives the logits that follow the last one, valid until the next pass. It
// computes only what is not cached, at least the last token. Errors: `tokens` is longer than the context; stopped.
Result<std::span<const float>> advance_to(Session& session, std::span<const int32_t> tokens, const Progress& progress);
// Appends one token.
Result<std::span<const float>> append(Session& session, int32_t token);
// Receives the logits of every position in order.
using LogitsSink = std::function<void(int64_t position, std::span<const float> logits)>;
// Empties the sequence, then computes all of `tokens`. The engine must have been opened with logits_rows >= its chunk.
Result<void> logits_of_all(Session& session, std::span<const int32_t> tokens, const LogitsSink& sink);

}  // namespace invar
