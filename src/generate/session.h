// One sequence of tokens on an engine: which of them the KV cache holds, and how new ones are computed (prompts in
// chunks, reuse of a common prefix). It does not choose tokens.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/engine.h"

namespace invar {

// What is known of the next token: its logits, or where the first of them by rank were asked for, those.
struct NextToken {
    std::span<const float> logits;  // [vocabulary], valid until the next call
    std::optional<RankedLogits> ranked;
};

class Session {
  public:
    explicit Session(Engine& engine);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    // Tokens whose keys and values are in the cache.
    std::span<const int32_t> tokens() const { return tokens_; }
    int64_t room() const { return engine_.context() - static_cast<int64_t>(tokens_.size()); }
    Engine& engine() { return engine_; }

    // Called after every chunk with the tokens computed so far; false stops early.
    using Progress = std::function<bool(int64_t done, int64_t total)>;

    // Makes the cache hold exactly `tokens`, computing only what it does not hold yet (at least the last token), and
    // gives the logits that follow the last one, valid until the next call. Errors: longer than the context; stopped.
    Result<std::span<const float>> advance_to(std::span<const int32_t> tokens, const Progress& progress);
    // Appends one token.
    Result<std::span<const float>> append(int32_t token);
    // The same, asking for the first tokens by rank where there is a request; only where the engine's
    // ranks_on_device().
    using Request = std::optional<Preselection>;
    Result<NextToken> advance_to(std::span<const int32_t> tokens, const Progress& progress, const Request& request);
    Result<NextToken> append(int32_t token, const Request& request);
    // Gets the logits of every position in order.
    using LogitsSink = std::function<void(int64_t position, std::span<const float> logits)>;
    // Forgets everything, then computes all of `tokens`. The engine was opened with logits_rows >= its chunk.
    Result<void> logits_of_all(std::span<const int32_t> tokens, const LogitsSink& sink);
    int64_t reused_tokens() const { return reused_; }  // by the last advance_to

  private:
    enum class Wanted : uint8_t { last_logits, all_logits };
    Result<NextToken> compute_chunk(std::span<const int32_t> chunk, Wanted wanted, const Request& request);
    Result<NextToken> compute(std::span<const int32_t> fresh, const Progress& progress, const Request& request);

    Engine& engine_;
    int32_t sequence_;
    std::vector<int32_t> tokens_;
    int64_t reused_ = 0;
};

}  // namespace invar
