// The sampling pipeline. It sorts only as many candidates as a choice looks at. tests/generate/sampler_test.cpp
// compares it with the plain definition, which sorts everything.
#include "generate/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>

#include "arithmetic/elementary.h"
#include "arithmetic/philox.h"
#include "arithmetic/reduce.h"
#include "base/check.h"

namespace invar {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr size_t kFirstRanks = 256;  // ranks are sorted 256 at first, then twice as many each time
constexpr size_t kHeapShare = 16;    // top-k of less than 1/16 of the vocabulary uses a heap

// Sixteen accumulators, which the compiler turns into vector maxima. The order does not matter to a maximum.
float largest(const std::vector<float>& row) {
    constexpr size_t kLanes = 16;
    std::array<float, kLanes> lanes;
    lanes.fill(-kInfinity);
    size_t i = 0;
    for (; i + kLanes <= row.size(); i += kLanes)
        for (size_t j = 0; j < kLanes; ++j) lanes[j] = row[i + j] > lanes[j] ? row[i + j] : lanes[j];
    for (; i < row.size(); ++i) lanes[0] = row[i] > lanes[0] ? row[i] : lanes[0];
    return *std::max_element(lanes.begin(), lanes.end());
}

// The total order of the pipeline. Tokens differ, so no two candidates are equal.
constexpr auto ranks_before = [](const auto& a, const auto& b) {
    return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
};

Result<void> in_range(const char* name, double value, double low, double high) {
    if (value >= low && value <= high) return {};
    return fail("{} is {}, but must be between {} and {}", name, value, low, high);
}

}  // namespace

Result<void> SamplerSettings::validate() const {
    if (temperature != 0 && !(temperature >= 0.001f && temperature <= 1000))
        return fail("temperature is {}, but must be 0 (always the most likely token) or between 0.001 and 1000",
                    temperature);
    if (top_k < 0) return fail("top_k is {}, but must be 0 (all tokens) or more", top_k);
    TRY(in_range("top_p", top_p, 0, 1));
    TRY(in_range("min_p", min_p, 0, 1));
    TRY(in_range("repetition_penalty", repetition_penalty, 0.01, 100));
    TRY(in_range("presence_penalty", presence_penalty, -100, 100));
    TRY(in_range("frequency_penalty", frequency_penalty, -100, 100));
    if (penalty_window < -1)
        return fail("penalty_window is {}, but must be -1 (the whole history), 0 (none) or a number of tokens",
                    penalty_window);
    std::vector<int32_t> biased;
    for (const LogitBias& entry : bias) {
        if (!(std::fabs(entry.bias) <= 1e6f))
            return fail("the bias of token {} is {}, but must be between -1e6 and 1e6", entry.token, entry.bias);
        biased.push_back(entry.token);
    }
    std::sort(biased.begin(), biased.end());
    const auto twice = std::adjacent_find(biased.begin(), biased.end());
    if (twice != biased.end()) return fail("token {} has two biases; give it one", *twice);
    return {};
}

Sampler::Sampler(SamplerSettings settings) : settings_(std::move(settings)) {
    CHECK(settings_.validate().has_value(), "whoever takes settings from a user validates them");
}

Result<SampledToken> Sampler::sample(std::span<const float> logits, std::span<const int32_t> history,
                                     int64_t position) {
    TRY(load(logits));
    TRY(apply_bans_and_biases());
    TRY(apply_penalties(history));
    if (settings_.temperature != 0) {
        for (float& logit : row_) logit = logit / settings_.temperature;
    }
    TRY(check_row());
    if (observer_ != nullptr) observer_->penalised(position, row_);
    SampledToken token;
    if (settings_.temperature == 0) {
        token = most_likely();
        if (observer_ != nullptr) observer_->candidates(position, {&token.token, 1}, {&token.probability, 1});
    } else {
        keep_top_k();
        token = choose_ranked(position);
    }
    if (observer_ != nullptr) observer_->chosen(position, token);
    return token;
}

// Steps 6 to 9 of the pipeline, on the candidates that top-k left.
SampledToken Sampler::choose_ranked(int64_t position) {
    apply_softmax();
    keep_top_p();
    keep_min_p();
    if (observer_ != nullptr) show_candidates(position);
    return choose(law::uniform(settings_.seed, static_cast<uint64_t>(position)));
}

Result<std::optional<Preselection>> Sampler::preselection(std::span<const int32_t> history, int64_t vocabulary) {
    const bool greedy = settings_.temperature == 0;
    const bool few = settings_.top_k > 0 && settings_.top_k <= kMostPreselected;
    if (observer_ != nullptr || !(greedy || few)) return std::nullopt;
    row_.assign(static_cast<size_t>(vocabulary), 0.0f);
    Preselection request{.repetition_penalty = settings_.repetition_penalty,
                         .frequency_penalty = settings_.frequency_penalty,
                         .presence_penalty = settings_.presence_penalty,
                         .temperature = settings_.temperature,
                         .count = greedy ? 1 : static_cast<int>(settings_.top_k)};
    std::map<int32_t, LogitEdit> edits;
    const auto edit = [&](int32_t token) -> LogitEdit& {
        LogitEdit& found = edits[token];
        found.token = token;
        return found;
    };
    for (const int32_t token : settings_.banned.ids) {
        TRY(check_token(token, "banned"));
        edit(token).banned = 1;
    }
    for (const LogitBias& entry : settings_.bias) {
        TRY(check_token(entry.token, "biased"));
        edit(entry.token).bias = entry.bias;
        edit(entry.token).has_bias = 1;
    }
    if (has_penalties()) {
        sort_seen(history);
        for (const int32_t token : seen_) {
            TRY(check_token(token, "past"));
            ++edit(token).seen;
        }
    }
    if (edits.size() > kMostLogitEdits) return std::nullopt;
    for (const auto& [token, entry] : edits) request.edits.push_back(entry);
    return request;
}

Result<SampledToken> Sampler::sample(const RankedLogits& answer, int64_t vocabulary, int64_t position) {
    if (answer.wrong)
        return fail("the logit of token {} is {}, so no token can be chosen: the forward pass went wrong",
                    answer.wrong->token, answer.wrong->logit);
    if (answer.first.empty()) return fail("there are no logits to choose a token from");
    row_.assign(static_cast<size_t>(vocabulary), 0.0f);
    TRY(check_most(answer.first.front().logit));
    if (settings_.temperature == 0)
        return SampledToken{.token = answer.first.front().token, .probability = 1, .candidates = 1};
    candidates_.clear();
    for (const RankedLogit& first : answer.first)
        if (first.logit != -kInfinity) candidates_.push_back({first.logit, 0, first.token});
    ranked_ = candidates_.size();
    return choose_ranked(position);
}

void Sampler::show_candidates(int64_t position) {
    std::vector<int32_t> tokens;
    std::vector<float> probabilities;
    const float total = sum_of_probabilities();
    for (size_t rank = 0; rank < candidates_.size(); ++rank) {
        const Candidate& candidate = ranked(rank);
        tokens.push_back(candidate.token);
        probabilities.push_back(candidate.probability / total);
    }
    observer_->candidates(position, tokens, probabilities);
}

Result<void> Sampler::load(std::span<const float> logits) {
    if (logits.empty()) return fail("there are no logits to choose a token from");
    row_.assign(logits.begin(), logits.end());
    bool finite = true;
    for (const float logit : row_) finite &= logit < kInfinity;  // false for NaN
    if (finite) return {};
    size_t token = 0;
    while (row_[token] < kInfinity) ++token;
    return fail("the logit of token {} is {}, so no token can be chosen: the forward pass went wrong", token,
                row_[token]);
}

Result<void> Sampler::check_token(int32_t token, const char* role) const {
    if (token >= 0 && static_cast<size_t>(token) < row_.size()) return {};
    return fail("{} token {} is outside the vocabulary of {} tokens", role, token, row_.size());
}

Result<void> Sampler::apply_bans_and_biases() {
    for (const int32_t token : settings_.banned.ids) {
        TRY(check_token(token, "banned"));
        row_[token] = -kInfinity;
    }
    for (const LogitBias& entry : settings_.bias) {
        TRY(check_token(entry.token, "biased"));
        row_[entry.token] = row_[entry.token] + entry.bias;
    }
    return {};
}

bool Sampler::has_penalties() const {
    return settings_.repetition_penalty != 1 || settings_.presence_penalty != 0 || settings_.frequency_penalty != 0;
}

void Sampler::sort_seen(std::span<const int32_t> history) {
    const auto size = static_cast<int64_t>(history.size());
    const int64_t window = settings_.penalty_window < 0 ? size : std::min(settings_.penalty_window, size);
    seen_.assign(history.end() - window, history.end());
    std::sort(seen_.begin(), seen_.end());
}

Result<void> Sampler::apply_penalties(std::span<const int32_t> history) {
    if (!has_penalties()) return {};
    sort_seen(history);
    for (auto first = seen_.begin(); first != seen_.end();) {
        const auto last = std::upper_bound(first, seen_.end(), *first);
        TRY(check_token(*first, "past"));
        float& logit = row_[*first];
        logit = logit > 0 ? logit / settings_.repetition_penalty : logit * settings_.repetition_penalty;
        logit = logit - settings_.frequency_penalty * static_cast<float>(last - first);
        logit = logit - settings_.presence_penalty;
        first = last;
    }
    return {};
}

Result<void> Sampler::check_row() const { return check_most(largest(row_)); }

Result<void> Sampler::check_most(float most) const {
    if (most == -kInfinity) return fail("all {} tokens are banned, so none can be chosen", row_.size());
    if (most < kInfinity) return {};
    return fail("a logit overflows at temperature {} with these biases and penalties; use milder settings",
                settings_.temperature);
}

SampledToken Sampler::most_likely() const {
    const auto first = std::find(row_.begin(), row_.end(), largest(row_));
    return {.token = static_cast<int32_t>(first - row_.begin()), .probability = 1, .candidates = 1};
}

// Fills candidates_ from row_.
void Sampler::keep_top_k() {
    candidates_.clear();
    ranked_ = 0;
    const size_t k = settings_.top_k == 0 ? row_.size() : std::min(static_cast<size_t>(settings_.top_k), row_.size());
    if (k >= row_.size() / kHeapShare) {
        for (size_t token = 0; token < row_.size(); ++token)
            if (row_[token] != -kInfinity) candidates_.push_back({row_[token], 0, static_cast<int32_t>(token)});
        if (candidates_.size() > k) {
            std::nth_element(candidates_.begin(), candidates_.begin() + static_cast<int64_t>(k), candidates_.end(),
                             ranks_before);
            candidates_.resize(k);
        }
        return;
    }
    // The heap's front is the lowest ranked token. Tokens come in rising order, so at equal logits the one already
    // there wins.
    for (size_t token = 0; token < row_.size(); ++token) {
        const float logit = row_[token];
        if (candidates_.size() == k) {
            if (!(logit > candidates_.front().logit)) continue;
            std::pop_heap(candidates_.begin(), candidates_.end(), ranks_before);
            candidates_.pop_back();
        } else if (logit == -kInfinity) {
            continue;
        }
        candidates_.push_back({logit, 0, static_cast<int32_t>(token)});
        std::push_heap(candidates_.begin(), candidates_.end(), ranks_before);
    }
}

// law::softmax of the row in which dropped tokens are -inf. Their exponentials are +0 and change no sum.
void Sampler::apply_softmax() {
    const float most = ranked(0).logit;
    for (Candidate& candidate : candidates_) candidate.probability = law::exp(candidate.logit - most);
    const float total = sum_of_probabilities();
    for (Candidate& candidate : candidates_) candidate.probability = candidate.probability / total;
}

void Sampler::keep_top_p() {
    if (settings_.top_p >= 1) return;
    float reached = 0;
    for (size_t rank = 0; rank < candidates_.size(); ++rank) {
        reached = reached + ranked(rank).probability;
        if (reached < settings_.top_p) continue;
        candidates_.resize(rank + 1);
        ranked_ = rank + 1;
        return;
    }
}

void Sampler::keep_min_p() {
    if (settings_.min_p <= 0) return;
    const float least = settings_.min_p * ranked(0).probability;
    const auto dropped = [&](const Candidate& candidate) { return !(candidate.probability >= least); };
    const auto end_of_ranked = candidates_.begin() + static_cast<int64_t>(ranked_);
    ranked_ -= static_cast<size_t>(std::count_if(candidates_.begin(), end_of_ranked, dropped));
    std::erase_if(candidates_, dropped);  // erase_if keeps the order
}

SampledToken Sampler::choose(float uniform) {
    const float total = sum_of_probabilities();
    const float target = uniform * total;
    float reached = 0;
    size_t rank = 0;
    for (;; ++rank) {
        reached = reached + ranked(rank).probability;
        if (reached > target || rank + 1 == candidates_.size()) break;
    }
    const Candidate& chosen = ranked(rank);
    return {.token = chosen.token,
            .probability = chosen.probability / total,
            .candidates = static_cast<int64_t>(candidates_.size())};
}

float Sampler::sum_of_probabilities() {
    std::fill(row_.begin(), row_.end(), 0.0f);
    for (const Candidate& candidate : candidates_) row_[candidate.token] = candidate.probability;
    return law::sum(row_.data(), static_cast<int64_t>(row_.size()));
}

const Sampler::Candidate& Sampler::ranked(size_t rank) {
    while (rank >= ranked_) {
        const auto first = candidates_.begin() + static_cast<int64_t>(ranked_);
        const size_t more = std::min(std::max(kFirstRanks, ranked_), candidates_.size() - ranked_);
        const auto last = first + static_cast<int64_t>(more);
        if (last != candidates_.end()) std::nth_element(first, last, candidates_.end(), ranks_before);
        std::sort(first, last, ranks_before);
        ranked_ += more;
    }
    return candidates_[rank];
}

}  // namespace invar
