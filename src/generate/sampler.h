// How the next token is chosen from a row of logits: one pipeline for every path, defined step by step in
// docs/arithmetic.md, section 7. Every choice is made in a total order (logit descending, id ascending), so no result
// depends on a sort, a thread or a batch. When to stop is decided elsewhere (generation.h): a banned token is one that
// can never be chosen, a stop token one that may be.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "ops/preselection.h"

namespace invar {

// Tokens that are never chosen. A type of its own, so that it cannot be mistaken for the tokens that end an answer.
struct BannedTokens {
    std::vector<int32_t> ids;
};

struct LogitBias {
    int32_t token;
    float bias;
};

// The defaults restrict nothing: plain sampling from the model's own distribution.
struct SamplerSettings {
    float temperature = 1;         // 0: always the most likely token; else 0.001 to 1000
    int64_t top_k = 0;             // keep the first k; 0: all
    float top_p = 1;               // keep the fewest first tokens whose probabilities reach this; 1: all
    float min_p = 0;               // keep tokens at least this share as likely as the first; 0: all
    float repetition_penalty = 1;  // divides positive and multiplies negative logits of tokens seen; 1: none
    float presence_penalty = 0;    // subtracted once from tokens seen
    float frequency_penalty = 0;   // subtracted as often as they were seen
    int64_t penalty_window = 64;   // how many last tokens of the history count as seen; 0: none, -1: all
    uint64_t seed = 0;
    BannedTokens banned;
    std::vector<LogitBias> bias;  // at most one a token

    // One sentence naming the setting, its value and its range.
    Result<void> validate() const;
};

struct SampledToken {
    int32_t token = -1;
    float probability = 1;   // among the candidates that were left; 1 where temperature is 0
    int64_t candidates = 1;  // how many were left to choose from
};

// Sees the steps of a choice; what it is shown is valid during the call only. Position: of the token to be chosen.
class SamplerObserver {
  public:
    virtual ~SamplerObserver() = default;
    // After bans, biases, penalties and the division by the temperature: [vocabulary], -inf for banned tokens.
    virtual void penalised(int64_t position, std::span<const float> logits) {}
    // Those left to choose from, in rank order, with the probabilities among them that decide. Where the temperature is
    // 0 it is the most likely token alone, with 1.
    virtual void candidates(int64_t position, std::span<const int32_t> tokens, std::span<const float> probabilities) {}
    virtual void chosen(int64_t position, const SampledToken& token) {}
};

class Sampler {
  public:
    // The settings must be valid.
    explicit Sampler(SamplerSettings settings);

    // nullptr: none. The observer outlives the sampler or its next observe(). It changes no choice, but ranks what
    // would otherwise stay unranked.
    void observe(SamplerObserver* observer) { observer_ = observer; }

    // logits: [vocabulary]; history: every token so far, the prompt's first; position: of the token to be chosen, which
    // with the seed decides the random number. Errors: a NaN or +inf among the logits, a banned, biased or past token
    // outside the vocabulary, no token left.
    Result<SampledToken> sample(std::span<const float> logits, std::span<const int32_t> history, int64_t position);

    // The same choice without the whole row (ops/preselection.h): what a device is to be asked for, and the choice from
    // its answer. No request where the choice needs every token: a temperature with no top_k, or one above
    // kMostPreselected, more edits than kMostLogitEdits (a penalty over a long history), or an observer.
    Result<std::optional<Preselection>> preselection(std::span<const int32_t> history, int64_t vocabulary);
    Result<SampledToken> sample(const RankedLogits& answer, int64_t vocabulary, int64_t position);

    const SamplerSettings& settings() const { return settings_; }

  private:
    struct Candidate {
        float logit;
        float probability;
        int32_t token;
    };

    Result<void> load(std::span<const float> logits);
    Result<void> apply_bans_and_biases();
    Result<void> apply_penalties(std::span<const int32_t> history);
    Result<void> check_row() const;  // some token is left, and no logit overflowed
    Result<void> check_token(int32_t token, const char* role) const;
    Result<void> check_most(float most) const;
    bool has_penalties() const;
    void sort_seen(std::span<const int32_t> history);
    SampledToken choose_ranked(int64_t position);

    SampledToken most_likely() const;
    void keep_top_k();
    void apply_softmax();
    void keep_top_p();
    void keep_min_p();
    SampledToken choose(float uniform);
    void show_candidates(int64_t position);

    float sum_of_probabilities();  // reduce law, each at its token's place in a row of zeros
    const Candidate& ranked(size_t rank);

    SamplerSettings settings_;
    std::vector<float> row_;             // [vocabulary]
    std::vector<int32_t> seen_;          // the history's window, sorted
    std::vector<Candidate> candidates_;  // the first ranked_ of them are in rank order, the others rank behind those
    size_t ranked_ = 0;
    SamplerObserver* observer_ = nullptr;
};

}  // namespace invar
