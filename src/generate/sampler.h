// Chooses the next token from a row of logits. Every path uses this one pipeline, which docs/arithmetic.md, section 7,
// defines step by step. All choices follow a total order (logit descending, id ascending), so no result depends on a
// sort, a thread or a batch. The sampler does not decide when to stop (generation.h).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "ops/preselection.h"

namespace invar {

// Tokens that are never chosen. The type keeps them apart from stop tokens, which may be chosen and end the answer.
struct BannedTokens {
    std::vector<int32_t> ids;
};

struct LogitBias {
    int32_t token;
    float bias;
};

// The defaults restrict nothing: plain sampling from the model's own distribution.
struct SamplerSettings {
    float temperature = 1;         // 0: always the most likely token; otherwise 0.001 to 1000
    int64_t top_k = 0;             // keep the first k; 0: all
    float top_p = 1;               // keep the fewest most likely tokens whose probabilities sum to this; 1: all
    float min_p = 0;               // keep tokens at least this share as likely as the most likely one; 0: all
    float repetition_penalty = 1;  // divides positive and multiplies negative logits of tokens seen; 1: none
    float presence_penalty = 0;    // subtracted once from tokens seen
    float frequency_penalty = 0;   // subtracted once per occurrence
    int64_t penalty_window = 64;   // how many of the last tokens count as seen; 0: none, -1: all
    uint64_t seed = 0;
    BannedTokens banned;
    std::vector<LogitBias> bias;  // at most one per token

    // The error is one sentence that names the setting, its value and its range.
    Result<void> validate() const;
};

struct SampledToken {
    int32_t token = -1;
    float probability = 1;   // among the remaining candidates; 1 if the temperature is 0
    int64_t candidates = 1;  // how many candidates remained
};

// Sees the steps of a choice. The spans are valid only during the call. `position` is that of the token to be chosen.
class SamplerObserver {
  public:
    virtual ~SamplerObserver() = default;
    // The logits after bans, biases, penalties and temperature: [vocabulary], -inf for banned tokens.
    virtual void penalised(int64_t position, std::span<const float> logits) {}
    // The remaining candidates in rank order, with the probabilities among them that decide the choice. If the
    // temperature is 0, it is the most likely token alone, with probability 1.
    virtual void candidates(int64_t position, std::span<const int32_t> tokens, std::span<const float> probabilities) {}
    virtual void chosen(int64_t position, const SampledToken& token) {}
};

class Sampler {
  public:
    // The settings must be valid.
    explicit Sampler(SamplerSettings settings);

    // nullptr: no observer. The observer must outlive the sampler or the next call of observe(). It changes no choice,
    // but with one the sampler ranks candidates that would otherwise stay unranked.
    void observe(SamplerObserver* observer) { observer_ = observer; }

    // `logits`: [vocabulary]. `history`: every token so far, from the start of the prompt. `position`: that of the
    // token to be chosen; with the seed it decides the random number. Errors: a NaN or +inf among the logits; a banned,
    // biased or past token outside the vocabulary; no token left.
    Result<SampledToken> sample(std::span<const float> logits, std::span<const int32_t> history, int64_t position);

    // Makes the same choice without the whole row (ops/preselection.h): preselection() says what to ask of a device,
    // and sample() takes its answer. It gives nothing if the choice needs every token: with a temperature but no top_k
    // or one above kMostPreselected, with more than kMostLogitEdits edits (a penalty over a long history), or with an
    // observer.
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
    Result<void> check_row() const;  // errors: no token is left, or a logit overflowed
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

    float sum_of_probabilities();  // added by the reduce law, each at its token's place in a row of zeros
    const Candidate& ranked(size_t rank);

    SamplerSettings settings_;
    std::vector<float> row_;             // [vocabulary]
    std::vector<int32_t> seen_;          // the tokens of the history's window, sorted
    std::vector<Candidate> candidates_;  // the first ranked_ are in rank order; the others rank behind them, unsorted
    size_t ranked_ = 0;
    SamplerObserver* observer_ = nullptr;
};

}  // namespace invar
