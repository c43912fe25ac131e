#include "proof/verify/recorded_passes.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>
#include <random>

#include "generate/sampler.h"
#include "proof/record/model_runner.h"

namespace invar {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kFewestSteps = 16;
constexpr int64_t kMostRows = 9;  // rows of a sequence in a pass; one more than the kernels of few tokens take
constexpr size_t kMostLanes = 3;

// One list of tokens, computed in two sequences: by plain and by recorded passes.
struct Lane {
    int32_t plain = 0, recorded = 0;  // sequences of the cache
    std::vector<int32_t> tokens;
    int32_t chosen = 0;  // the token chosen to follow them
};

struct StepBatches {
    Batch plain, recorded;
    std::vector<size_t> lanes;  // the lane of each row of logits
};

class RecordedChecker {
  public:
    RecordedChecker(Engine& engine, const RecordedCheckRequest& request)
        : engine_(engine), request_(request), random_(request.seed), start_(Clock::now()) {}
    ~RecordedChecker() {
        for (const Lane& lane : lanes_) {
            engine_.cache().remove_sequence(lane.plain);
            engine_.cache().remove_sequence(lane.recorded);
        }
    }

    Result<RecordedCheck> run(int64_t lanes) {
        const RecordedPasses::Counts before = *engine_.recorded_passes();
        for (int64_t i = 0; i < lanes; ++i)
            lanes_.push_back({.plain = engine_.cache().add_sequence(),
                              .recorded = engine_.cache().add_sequence(),
                              .tokens = {},
                              .chosen = any_token()});
        while (check_.steps < request_.steps && (check_.steps < kFewestSteps || seconds() < request_.seconds)) {
            TRY(step());
            ++check_.steps;
        }
        const RecordedPasses::Counts after = *engine_.recorded_passes();
        check_.passes = {.plain = after.plain - before.plain,
                         .recorded = after.recorded - before.recorded,
                         .replayed = after.replayed - before.replayed,
                         .refused = after.refused - before.refused};
        if (check_.passes.replayed == 0)
            return fail("none of {} passes was replayed, so nothing is shown of recorded ones", 2 * check_.steps);
        return std::move(check_);
    }

  private:
    double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }
    int64_t below(int64_t count) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(count)); }
    int32_t any_token() { return static_cast<int32_t>(below(engine_.config().vocabulary)); }

    // Half of the steps are one token of one sequence, which is the usual pass of decoding.
    StepBatches next_batches() {
        StepBatches batches;
        const int64_t kind = below(8);
        const auto one = static_cast<size_t>(below(std::ssize(lanes_)));
        for (size_t lane = 0; lane < lanes_.size(); ++lane) {
            if (kind < 4 && lane != one) continue;   // 0 to 3: one token of one sequence
            if (kind == 6 && lane != one) continue;  // 4, 5: a token of each; 6: a prompt; 7: a prompt beside tokens
            add_rows(batches, lane, kind == 6 || (kind == 7 && lane == one) ? kMostRows : 1);
        }
        return batches;
    }

    void add_rows(StepBatches& batches, size_t index, int64_t rows) {
        Lane& lane = lanes_[index];
        rows = std::min({rows, engine_.context(), engine_.chunk() - batches.plain.size()});
        if (rows < 1) return;
        const int64_t room = engine_.context() - std::ssize(lane.tokens);
        if (room < rows || (!lane.tokens.empty() && below(8) == 0)) cut_back(lane, rows);
        for (int64_t i = 0; i < rows; ++i) {
            const auto position = static_cast<int64_t>(lane.tokens.size());
            lane.tokens.push_back(i == 0 && below(2) == 0 ? lane.chosen : any_token());
            const int32_t token = lane.tokens.back();
            batches.plain.rows.push_back({.token = token, .sequence = lane.plain, .position = position});
            batches.recorded.rows.push_back({.token = token, .sequence = lane.recorded, .position = position});
        }
        for (Batch* batch : {&batches.plain, &batches.recorded})
            batch->logits_rows.push_back(static_cast<int32_t>(batch->size()) - 1);
        batches.lanes.push_back(index);
        check_.positions += rows;
    }

    void cut_back(Lane& lane, int64_t rows) {
        const int64_t most = std::min(std::ssize(lane.tokens), engine_.context() - rows);
        lane.tokens.resize(static_cast<size_t>(below(most + 1)));
        // Both rewind to the same position, because both have stored the same.
        for (const int32_t sequence : {lane.plain, lane.recorded})
            lane.tokens.resize(static_cast<size_t>(engine_.cache().rewind(sequence, std::ssize(lane.tokens))));
    }

    Result<void> step() {
        const StepBatches batches = next_batches();
        for (const size_t index : batches.lanes) {
            const Lane& lane = lanes_[index];
            TRY(engine_.cache().reserve(lane.plain, std::ssize(lane.tokens)));
            TRY(engine_.cache().reserve(lane.recorded, std::ssize(lane.tokens)));
        }
        TRY_ASSIGN(const std::span<const float> plain, engine_.evaluate_plain(batches.plain));
        const std::vector<float> expected(plain.begin(), plain.end());
        // A pass stores the same keys and values when it runs twice, but takes a recurrence one step further, so that
        // such a model makes either logits or ranks of a batch.
        const bool repeatable = engine_.config().recurrences().empty();
        const bool ranks = engine_.ranks_on_device() && (repeatable || below(2) == 0);
        if (request_.before_recorded) request_.before_recorded(batches.recorded);
        if (repeatable || !ranks) TRY(compare_logits(batches, expected));
        if (ranks) TRY(choose(batches, expected));
        advance_rows(engine_.cache(), batches.plain);
        advance_rows(engine_.cache(), batches.recorded);
        return {};
    }

    Result<void> compare_logits(const StepBatches& batches, const std::vector<float>& expected) {
        TRY_ASSIGN(const std::span<const float> actual, engine_.evaluate(batches.recorded));
        const auto vocabulary = static_cast<size_t>(engine_.config().vocabulary);
        for (size_t i = 0; i < batches.lanes.size(); ++i) {
            const int64_t position = std::ssize(lanes_[batches.lanes[i]].tokens) - 1;
            compare("logits", position, std::span(expected).subspan(i * vocabulary, vocabulary),
                    actual.subspan(i * vocabulary, vocabulary));
        }
        return {};
    }

    SamplerSettings any_settings() {
        SamplerSettings settings;
        settings.temperature = std::array{0.0f, 0.7f, 1.0f}[static_cast<size_t>(below(3))];
        settings.top_k = std::array{1, 40, kMostPreselected}[static_cast<size_t>(below(3))];
        settings.top_p = below(2) == 0 ? 1.0f : 0.9f;
        settings.min_p = below(2) == 0 ? 0.0f : 0.05f;
        settings.seed = random_();
        if (below(2) == 0) settings.repetition_penalty = 1.3f;
        if (below(2) == 0) settings.frequency_penalty = 0.25f;
        settings.banned.ids = {any_token()};
        settings.bias = {{any_token(), 3.0f}};
        return settings;
    }

    // Runs the recorded pass for ranks only.
    Result<void> choose(const StepBatches& batches, const std::vector<float>& expected) {
        const int64_t vocabulary = engine_.config().vocabulary;
        std::vector<Sampler> samplers;
        std::vector<Preselection> requests;
        for (const size_t index : batches.lanes) {
            samplers.emplace_back(any_settings());
            TRY_ASSIGN(const auto request, samplers.back().preselection(lanes_[index].tokens, vocabulary));
            CHECK(request.has_value(), "all of these settings need few tokens");
            requests.push_back(*request);
        }
        TRY_ASSIGN(const std::vector<RankedLogits> ranked, engine_.evaluate_ranked(batches.recorded, requests));
        for (size_t i = 0; i < batches.lanes.size(); ++i) {
            Lane& lane = lanes_[batches.lanes[i]];
            const int64_t position = std::ssize(lane.tokens);
            const std::span<const float> row =
                std::span(expected).subspan(i * static_cast<size_t>(vocabulary), static_cast<size_t>(vocabulary));
            TRY_ASSIGN(const SampledToken from_all, samplers[i].sample(row, lane.tokens, position));
            TRY_ASSIGN(const SampledToken from_ranks, samplers[i].sample(ranked[i], vocabulary, position));
            const std::array<int32_t, 2> one = {from_all.token, std::bit_cast<int32_t>(from_all.probability)};
            const std::array<int32_t, 2> other = {from_ranks.token, std::bit_cast<int32_t>(from_ranks.probability)};
            compare("chosen", position, std::span<const int32_t>(one), std::span<const int32_t>(other));
            lane.chosen = from_all.token;
            ++check_.choices;
        }
        return {};
    }

    template <class T>
    void compare(std::string_view stage, int64_t position, std::span<const T> expected, std::span<const T> actual) {
        ++check_.counts.stages;
        check_.counts.values += std::ssize(expected);
        StageDifference found{.key = {.layer = -1, .name = std::string(stage)},
                              .verb = "",
                              .expected_kernel = "plain pass",
                              .kernel = "recorded pass",
                              .probe = "random states",
                              .position = position,
                              .element = -1,
                              .integers = std::is_integral_v<T>};
        for (size_t i = 0; i < expected.size(); ++i) {
            if (std::memcmp(&expected[i], &actual[i], sizeof(T)) == 0) continue;
            if (found.differing++ == 0) {
                found.element = static_cast<int64_t>(i);
                found.expected_bits = std::bit_cast<uint32_t>(expected[i]);
                found.bits = std::bit_cast<uint32_t>(actual[i]);
                found.expected = static_cast<double>(expected[i]);
                found.value = static_cast<double>(actual[i]);
            }
            found.last_element = static_cast<int64_t>(i);
        }
        check_.counts.differing_stages += found.differing > 0 ? 1 : 0;
        check_.counts.differing_values += found.differing;
        if (found.differing > 0 && !check_.first) check_.first = std::move(found);
    }

    Engine& engine_;
    const RecordedCheckRequest& request_;
    std::mt19937_64 random_;
    const Clock::time_point start_;
    std::vector<Lane> lanes_;
    RecordedCheck check_;
};

}  // namespace

Result<RecordedCheck> check_recorded_passes(Engine& engine, const RecordedCheckRequest& request) {
    CHECK(engine.recorded_passes().has_value(), "only an engine whose passes are all on a device records them");
    // Each lane needs two sequences.
    const auto lanes = std::min<int64_t>(static_cast<int64_t>(kMostLanes), engine.sequences() / 2);
    CHECK(lanes > 0, "there are two free sequences");
    return RecordedChecker(engine, request).run(lanes);
}

}  // namespace invar
