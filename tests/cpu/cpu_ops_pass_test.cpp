// Whole passes of a small two-layer model written in the verbs (one dense layer, one mixture of experts): every tier
// and thread count against ReferenceOps, a prompt at once against chunks against one token at a time, alone against in
// a mixed batch. Hidden states of every position and the bytes of the cache are compared.
#include <gtest/gtest.h>

#include <algorithm>

#include "small_model.h"

namespace invar {
namespace {

// The hidden states of [sequence][position][kWidth] and the caches after a run.
struct PassResult {
    std::vector<std::vector<float>> hidden;
    std::vector<std::vector<std::byte>> stored;  // of each sequence: keys and values of its positions, page by page
};

// Runs all prompts; every pass takes up to `chunk` rows of each sequence, sequences side by side where `together`.
PassResult run_prompts(const SmallModel& model, Ops& ops, const Prompts& prompts, int64_t chunk, bool together,
                       CacheType type) {
    auto cache = make_cache(SmallModel::geometry(), type, 40);
    std::vector<int64_t> done(prompts.tokens.size(), 0);
    PassResult run;
    for (const auto& tokens : prompts.tokens) {
        run.hidden.emplace_back(tokens.size() * kWidth);
        cache->add_sequence();
    }
    const auto left = [&](size_t s) { return static_cast<int64_t>(prompts.tokens[s].size()) - done[s]; };
    for (size_t first = 0; first < prompts.tokens.size(); first += together ? prompts.tokens.size() : 1) {
        const size_t last = together ? prompts.tokens.size() : first + 1;
        while (true) {
            Batch batch;
            for (size_t s = first; s < last; ++s) {
                const int64_t count = std::min(chunk, left(s));
                CHECK(cache->reserve(static_cast<int32_t>(s), done[s] + count).has_value(), "room");
                for (int64_t i = 0; i < count; ++i, ++done[s]) {
                    batch.rows.push_back({.token = prompts.tokens[s][static_cast<size_t>(done[s])],
                                          .sequence = static_cast<int32_t>(s),
                                          .position = done[s]});
                }
            }
            if (batch.rows.empty()) break;
            ops.begin_pass();
            const Tensor hidden = model.forward(ops, batch, *cache);
            EXPECT_FALSE(ops.failure().has_value());
            for (int64_t row = 0; row < batch.size(); ++row) {
                const BatchRow& place = batch.rows[static_cast<size_t>(row)];
                std::copy_n(hidden.host_row(row), kWidth,
                            run.hidden[static_cast<size_t>(place.sequence)].data() + place.position * kWidth);
            }
        }
    }
    for (size_t s = 0; s < prompts.tokens.size(); ++s) {
        auto& stored = run.stored.emplace_back();
        for (int layer = 0; layer < std::ssize(cache->layers()); ++layer) {
            for (const int32_t page : cache->pages_of(static_cast<int32_t>(s), layer)) {
                const std::byte* start = cache->keys(layer, page, 0);
                stored.insert(stored.end(), start, start + cache->layer_place(layer).bytes(kKvHeads));
            }
        }
    }
    return run;
}

void compare_runs(const PassResult& expected, const PassResult& actual, const std::string& what,
                  Comparison& comparison) {
    const int64_t differed = comparison.differ();
    for (size_t s = 0; s < expected.hidden.size(); ++s) {
        comparison.add(expected.hidden[s].data(), actual.hidden[s].data(),
                       static_cast<int64_t>(expected.hidden[s].size()));
        comparison.add_exact(expected.stored[s].data(), actual.stored[s].data(),
                             static_cast<int64_t>(expected.stored[s].size()));
    }
    EXPECT_EQ(comparison.differ(), differed) << what;
}

TEST(CpuOpsPass, EveryTierThreadCountAndChunkingGivesTheSameStatesAndCache) {
    const SmallModel model(61);
    const Prompts prompts = make_prompts(1, {150, 3, 66});
    Comparison comparison;
    int runs = 0;
    for (const CacheType type : {CacheType::f16, CacheType::f32}) {
        ReferenceOps reference;
        const PassResult expected = run_prompts(model, reference, prompts, 512, false, type);
        for (Backend& backend : all_backends()) {
            // The scalar tier is slow; one chunking at each thread count covers it.
            const std::vector<int64_t> chunks =
                backend.isa == Isa::scalar ? std::vector<int64_t>{64} : std::vector<int64_t>{1, 7, 64, 512};
            if (backend.isa == Isa::scalar && (type == CacheType::f32 || backend.pool->threads() > 2)) continue;
            for (const int64_t chunk : chunks) {
                for (const bool together : {false, true}) {
                    if (chunk == 1 && (type == CacheType::f32 || backend.pool->threads() == 8) && !together) continue;
                    const std::string what =
                        backend.name() + ", chunk " + std::to_string(chunk) + (together ? ", together" : "");
                    compare_runs(expected, run_prompts(model, *backend.ops, prompts, chunk, together, type), what,
                                 comparison);
                    ++runs;
                }
            }
        }
    }
    comparison.print(std::to_string(runs) + " runs of a small model, states and caches");
}

// The measuring pass is enough for every batch up to the one it saw.
TEST(CpuOpsPass, ScratchMeasuredForTheLargestBatchServesEveryOther) {
    const SmallModel model(62);
    for (const Isa isa : supported_isas()) {
        if (isa == Isa::scalar) continue;
        const Backend measuring = make_backend(isa, 3, 0, true);
        const auto shapes = SequenceState::without_memory(
            {.layers = SmallModel::geometry(), .recurrences = {}, .type = CacheType::f16, .places = {}});
        for (const int64_t rows : {1, 64}) {
            measuring.ops->begin_pass();
            model.forward(*measuring.ops, rows_of(shapes->add_sequence(), 1000 - rows, rows), *shapes);
        }
        const Backend real = make_backend(isa, 3, measuring.ops->scratch_peak());
        for (const int64_t chunk : {64, 1, 13}) {
            for (const bool together : {false, true}) {
                const Prompts prompts =
                    make_prompts(2, together ? std::vector<int64_t>{30, 20} : std::vector<int64_t>{150});
                if (together && chunk == 64) continue;
                run_prompts(model, *real.ops, prompts, chunk, together, CacheType::f16);
            }
        }
        EXPECT_LE(real.ops->scratch_peak(), measuring.ops->scratch_peak());
        printf("[scratch] %s: measured %lld bytes, used %lld\n", real.name().c_str(),
               static_cast<long long>(measuring.ops->scratch_peak()), static_cast<long long>(real.ops->scratch_peak()));
    }
}

// Passes that go wrong in ways real engines did: the comparison of states must notice each.
class MutatedOps final : public Ops {
  public:
    enum class Fault : uint8_t {
        key_skipped,
        heads_swapped,
        stale_rope,
        expert_dropped,
        experts_swapped,
        position_off,
        bias_lost,
        none
    };
    MutatedOps(Ops& inner, Fault fault) : inner_(inner), fault_(fault) {}

    Tensor scratch(int64_t rows, int64_t width) override { return inner_.scratch(rows, width); }
    ExpertSlots scratch_slots(int64_t rows, int k) override { return inner_.scratch_slots(rows, k); }
    void begin_pass() override { inner_.begin_pass(); }
    std::optional<NonFinite> failure() const override { return inner_.failure(); }
    void run(const VerbCall& given) override {
        VerbCall call = given;
        Batch batch;
        if (call.batch != nullptr) {
            batch = *call.batch;
            call.batch = &batch;
        }
        if (call.verb == Verb::add_bias && fault_ == Fault::bias_lost) return;
        if (call.verb == Verb::rope && fault_ == Fault::stale_rope && call.stage.layer == 1)
            batch.rows.back().position += 1;
        if (call.verb == Verb::attention) {
            if (fault_ == Fault::key_skipped && batch.rows.back().position > 0) batch.rows.back().position -= 1;
            if (fault_ == Fault::position_off && batch.rows.size() > 1) batch.rows[0].position += 1;
        }
        inner_.run(call);
        if (call.verb == Verb::attention && fault_ == Fault::heads_swapped)
            std::swap_ranges(call.out.host_row(0), call.out.host_row(0) + kHeadWidth,
                             call.out.host_row(0) + kHeadWidth);
        if (call.verb != Verb::route) return;
        if (fault_ == Fault::expert_dropped) call.slots.weights[call.slots.experts_per_row - 1] = 0;
        if (fault_ == Fault::experts_swapped) std::swap(call.slots.experts[0], call.slots.experts[1]);
    }

  private:
    Ops& inner_;
    Fault fault_;
};

TEST(CpuOpsPass, FaultsInjectedIntoAVerbAreCaught) {
    const SmallModel model(63);
    const Prompts prompts = make_prompts(3, {80});
    Backend& backend = all_backends().back();
    const PassResult expected = run_prompts(model, *backend.ops, prompts, 40, false, CacheType::f16);
    const std::vector<std::pair<const char*, MutatedOps::Fault>> faults = {
        {"the last key skipped", MutatedOps::Fault::key_skipped},
        {"two heads swapped", MutatedOps::Fault::heads_swapped},
        {"one row turned too far", MutatedOps::Fault::stale_rope},
        {"the last expert dropped", MutatedOps::Fault::expert_dropped},
        {"two experts swapped", MutatedOps::Fault::experts_swapped},
        {"a row sees its future", MutatedOps::Fault::position_off},
        {"a bias lost", MutatedOps::Fault::bias_lost}};
    Mutations mutations;
    for (const auto& [name, fault] : faults) {
        MutatedOps wrong(*backend.ops, fault);
        Comparison comparison;
        const PassResult actual = run_prompts(model, wrong, prompts, 40, false, CacheType::f16);
        comparison.add(expected.hidden[0].data(), actual.hidden[0].data(),
                       static_cast<int64_t>(expected.hidden[0].size()));
        mutations.add(name, comparison);
    }
    MutatedOps right(*backend.ops, MutatedOps::Fault::none);
    Comparison unharmed;
    compare_runs(expected, run_prompts(model, right, prompts, 40, false, CacheType::f16), "no fault", unharmed);
    EXPECT_EQ(unharmed.differ(), 0);
    mutations.print("whole passes");
    EXPECT_EQ(mutations.caught(), mutations.total());
}

}  // namespace
}  // namespace invar
