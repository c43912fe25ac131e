// States of recurrences in the engine, whole and bit for bit: every chunking leaves the same state, a sequence that was
// cut back goes on from a snapshot or from the start and never from the state that it had, a slot that another sequence
// used starts with zeros, and a pass that fails changes nothing.
#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "engine/engine.h"
#include "engine/engine_settings.h"

namespace invar {
namespace {

// Two gated delta nets and a layer of attention each; value heads in turn and grouped.
const char* const kModels[] = {"qwen35moe.gguf", "qwen3next"};

std::unique_ptr<Engine> open(const std::string& model, std::optional<int64_t> snapshots = std::nullopt) {
    EngineSettings settings{.model = std::filesystem::path(INVAR_TEST_DATA) / "goldens_hf" / model};
    settings.threads = 2;
    settings.context = 256;
    settings.chunk = 128;
    settings.sequences = 4;
    settings.snapshots = snapshots;
    auto opened = Engine::open(settings, nullptr);
    EXPECT_TRUE(opened) << opened.error().message;
    return std::move(*opened);
}

std::vector<int32_t> some_tokens(int64_t count, int32_t seed = 0) {
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < count; ++i) tokens.push_back(static_cast<int32_t>((i * 17 + i * i * 5 + seed) % 39 + 1));
    return tokens;
}

// All states of all layers, one behind the other.
std::vector<float> states_of(Engine& engine, int32_t sequence) {
    std::vector<float> states;
    const std::vector<RecurrenceGeometry> layers = engine.config().recurrences();
    for (size_t layer = 0; layer < layers.size(); ++layer) {
        if (layers[layer].bytes() == 0) continue;
        const std::span<const float> one = engine.cache().recurrence(sequence, static_cast<int>(layer));
        states.insert(states.end(), one.begin(), one.end());
    }
    EXPECT_GT(states.size(), 2000u);
    return states;
}

bool same(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Appends tokens; the logits behind the last one.
std::vector<float> append(Engine& engine, int32_t sequence, std::span<const int32_t> tokens, size_t chunk = 128) {
    std::vector<float> logits;
    for (size_t start = 0; start < tokens.size(); start += chunk) {
        const std::span<const int32_t> part = tokens.subspan(start, std::min(chunk, tokens.size() - start));
        const StepPiece piece{.sequence = sequence, .tokens = part};
        auto results = engine.step({&piece, 1});
        EXPECT_TRUE(results && results->front());
        if (results && results->front()) logits.assign((*results)[0]->logits.begin(), (*results)[0]->logits.end());
    }
    return logits;
}

// What a sequence of its own has after these tokens, with nothing shared.
struct Fresh {
    std::vector<float> states, logits;
};
Fresh fresh(Engine& engine, std::span<const int32_t> tokens, size_t chunk = 128) {
    static int count = 0;
    const int32_t sequence = engine.cache().add_sequence("fresh " + std::to_string(count++));
    Fresh made;
    made.logits = append(engine, sequence, tokens, chunk);
    made.states = states_of(engine, sequence);
    engine.cache().remove_sequence(sequence);
    return made;
}

TEST(Recurrence, EveryChunkingLeavesTheSameStates) {
    for (const char* model : kModels) {
        const auto engine = open(model);
        const std::vector<int32_t> tokens = some_tokens(100);
        const Fresh whole = fresh(*engine, tokens);
        for (const size_t chunk : {size_t{1}, size_t{7}, size_t{64}}) {
            const Fresh parts = fresh(*engine, tokens, chunk);
            EXPECT_TRUE(same(parts.states, whole.states)) << model << ", chunks of " << chunk;
            EXPECT_TRUE(same(parts.logits, whole.logits)) << model << ", chunks of " << chunk;
        }
        EXPECT_FALSE(same(fresh(*engine, some_tokens(99)).states, whole.states));
    }
}

TEST(Recurrence, ACutSequenceGoesOnFromASnapshotOrFromTheStartAndNeverFromItsOwnState) {
    for (const char* model : kModels) {
        const auto engine = open(model);
        const std::vector<int32_t> tokens = some_tokens(150);
        struct Cut {
            int64_t to, known;
        };
        for (const Cut& cut : {Cut{149, 100}, Cut{100, 100}, Cut{99, 64}, Cut{64, 64}, Cut{63, 0}, Cut{0, 0}}) {
            const int32_t sequence = engine->cache().add_sequence("cut " + std::to_string(cut.to));
            for (const int64_t end : {int64_t{64}, int64_t{100}, int64_t{150}}) {
                const int64_t start = engine->cache().length(sequence);
                append(*engine, sequence, std::span(tokens).subspan(start, end - start));
                if (end < 150) {
                    ASSERT_TRUE(*engine->cache().snapshot(sequence));
                }
            }
            EXPECT_EQ(engine->cache().rewind(sequence, cut.to), cut.known) << model;
            if (cut.known > 0) {
                const Fresh there = fresh(*engine, std::span(tokens).first(static_cast<size_t>(cut.known)));
                EXPECT_TRUE(same(states_of(*engine, sequence), there.states)) << model << " at " << cut.known;
            }
            std::vector<int32_t> edited(tokens.begin(), tokens.begin() + cut.known);
            const std::vector<int32_t> others = some_tokens(30, 11);
            edited.insert(edited.end(), others.begin(), others.end());
            const std::vector<float> logits = append(*engine, sequence, others, 7);
            const Fresh whole = fresh(*engine, edited);
            EXPECT_TRUE(same(states_of(*engine, sequence), whole.states)) << model << " from " << cut.known;
            EXPECT_TRUE(same(logits, whole.logits)) << model << " from " << cut.known;
            // The snapshot is as it was, although the sequence went on from it.
            EXPECT_EQ(engine->cache().rewind(sequence, cut.known), cut.known);
            if (cut.known > 0) {
                const Fresh there = fresh(*engine, std::span(tokens).first(static_cast<size_t>(cut.known)));
                EXPECT_TRUE(same(states_of(*engine, sequence), there.states)) << model << " again at " << cut.known;
            }
            engine->cache().remove_sequence(sequence);
        }
    }
}

TEST(Recurrence, WithoutSnapshotsASequenceThatIsCutComputesEverythingAgain) {
    const auto engine = open(kModels[0], 0);
    const std::vector<int32_t> tokens = some_tokens(90);
    const int32_t sequence = engine->cache().add_sequence();
    append(*engine, sequence, tokens);
    EXPECT_TRUE(*engine->cache().snapshot(sequence)) << "the slots of sequences that are not there can be used";
    for (int i = 0; i < 3; ++i) append(*engine, engine->cache().add_sequence("other"), some_tokens(20, i));
    EXPECT_EQ(engine->cache().rewind(sequence, 89), 0) << "they took the slot back";
    append(*engine, sequence, std::span(tokens).first(70));
    const auto other = open(kModels[0]);
    EXPECT_TRUE(same(states_of(*engine, sequence), fresh(*other, std::span(tokens).first(70)).states));
}

TEST(Recurrence, ASlotThatAnotherSequenceLeftStartsWithZeros) {
    const auto engine = open(kModels[0], 0), other = open(kModels[0]);
    for (int round = 0; round < 6; ++round) {
        const std::vector<int32_t> tokens = some_tokens(20 + round, round);
        const int32_t sequence = engine->cache().add_sequence("round " + std::to_string(round));
        append(*engine, sequence, tokens, 9);
        EXPECT_TRUE(same(states_of(*engine, sequence), fresh(*other, tokens).states)) << round;
        engine->cache().remove_sequence(sequence);
    }
}

TEST(Recurrence, OthersAttachWhereASnapshotIsAndComputeTheSame) {
    for (const char* model : kModels) {
        const auto engine = open(model);
        const std::vector<int32_t> tokens = some_tokens(140);
        const int32_t first = engine->cache().add_sequence();
        append(*engine, first, std::span(tokens).first(128), 64);
        ASSERT_TRUE(*engine->cache().snapshot(first));
        append(*engine, first, std::span(tokens).subspan(128));
        const int32_t second = engine->cache().add_sequence();
        EXPECT_EQ(engine->cache().attach_prefix(second, std::span(tokens).first(139)), 128) << model;
        append(*engine, second, std::span(tokens).subspan(128), 5);
        EXPECT_TRUE(same(states_of(*engine, second), states_of(*engine, first))) << model;
        EXPECT_TRUE(same(states_of(*engine, second), fresh(*engine, tokens).states)) << model;
    }
}

// Makes the rows of one sequence NaN behind the norm of a delta net's result.
class SpoilingOps final : public Ops {
  public:
    SpoilingOps(Ops& inner, int32_t sequence, int layer) : inner_(inner), sequence_(sequence), layer_(layer) {}

    Tensor scratch(int64_t rows, int64_t width) override { return inner_.scratch(rows, width); }
    ExpertSlots scratch_slots(int64_t rows, int experts) override { return inner_.scratch_slots(rows, experts); }
    void begin_pass() override { inner_.begin_pass(); }
    std::optional<NonFinite> failure() const override { return inner_.failure(); }
    Result<void> finish() override { return inner_.finish(); }
    void run(const VerbCall& call) override {
        inner_.run(call);
        if (call.batch != nullptr) pass_ = *call.batch;
        if (call.stage.layer != layer_ || call.stage.name != "delta_output_norm") return;
        for (int64_t row = 0; row < call.out.rows(); ++row) {
            if (pass_.rows[static_cast<size_t>(row)].sequence != sequence_) continue;
            call.out.host_row(row)[0] = std::numeric_limits<float>::quiet_NaN();
            ++struck;
        }
    }
    int struck = 0;

  private:
    Ops& inner_;
    int32_t sequence_;
    int layer_;
    Batch pass_;
};

TEST(Recurrence, APassThatFailsLeavesTheStatesOfAllItsSequencesAsTheyWere) {
    for (const bool with_snapshots : {true, false}) {
        const auto engine = open(kModels[0], with_snapshots ? 8 : 0);
        std::vector<int32_t> sequences;
        std::vector<std::vector<int32_t>> held, next;
        for (int i = 0; i < 3; ++i) {
            sequences.push_back(engine->cache().add_sequence());
            held.push_back(some_tokens(30 + 20 * i, i));
            next.push_back(some_tokens(5 + i, 20 + i));
            append(*engine, sequences.back(), std::span(held.back()).first(25));
            if (with_snapshots) {
                ASSERT_TRUE(*engine->cache().snapshot(sequences.back()));
            }
            append(*engine, sequences.back(), std::span(held.back()).subspan(25));
        }
        const std::vector<float> before = states_of(*engine, sequences[1]);
        std::vector<StepPiece> pieces;
        for (size_t i = 0; i < 3; ++i) pieces.push_back({.sequence = sequences[i], .tokens = next[i]});
        SpoilingOps verbs(engine->ops(), sequences[1], 1);
        const auto results = engine->step(pieces, verbs);
        ASSERT_TRUE(results) << results.error().message;
        EXPECT_GT(verbs.struck, 5) << "the pass was repeated in halves";
        ASSERT_FALSE((*results)[1]);
        EXPECT_EQ((*results)[1].error().kind, ErrorKind::numeric);
        EXPECT_EQ(engine->cache().length(sequences[1]), std::ssize(held[1]));
        EXPECT_TRUE(same(states_of(*engine, sequences[1]), before));
        const auto other = open(kModels[0]);
        for (const size_t i : {size_t{0}, size_t{2}}) {
            ASSERT_TRUE((*results)[i]);
            std::vector<int32_t> all = held[i];
            all.insert(all.end(), next[i].begin(), next[i].end());
            const Fresh whole = fresh(*other, all);
            EXPECT_TRUE(same(states_of(*engine, sequences[i]), whole.states)) << i;
            const std::span<const float> logits = (*results)[i]->logits;
            EXPECT_TRUE(same({logits.begin(), logits.end()}, whole.logits)) << i;
        }
        // The piece that failed can be computed now that nothing spoils it.
        append(*engine, sequences[1], next[1]);
        std::vector<int32_t> all = held[1];
        all.insert(all.end(), next[1].begin(), next[1].end());
        EXPECT_TRUE(same(states_of(*engine, sequences[1]), fresh(*other, all).states));
    }
}

TEST(Recurrence, ThePlanCountsStatesAndSnapshotsInALineOfTheirOwn) {
    const auto engine = open(kModels[0], 5);
    const PlanReserve* line = engine->plan().reserve("recurrent_state", Place::host);
    ASSERT_NE(line, nullptr);
    // 2 layers: a state of 6 x 16 x 16 and 3 columns of 2 x 2 x 16 + 6 x 16 channels, in multiples of 64 bytes.
    const int64_t one = 2 * (((6 * 16 * 16 + 3 * 160) * 4 + 63) / 64 * 64);
    EXPECT_EQ(one, 16128);
    EXPECT_EQ(line->bytes, one * (4 + 5));
    EXPECT_EQ(line->reason, "4 states and 5 snapshots x 16128 bytes in f32, 2 layers");
    EXPECT_EQ(engine->plan().cache_bytes(Place::host), engine->cache().bytes());
    EXPECT_EQ(open(kModels[0])->cache().units(0), 4 + 16) << "auto";
}

}  // namespace
}  // namespace invar
