// The verbs of recurrences through CpuOps, against ReferenceOps: results and states bit for bit, on every tier and
// thread count, in chunks of any size, with several sequences side by side or row by row in turn, and the place of the
// first non-finite number.
#include <gtest/gtest.h>

#include <algorithm>

#include "arithmetic/recurrence.h"
#include "verb_case.h"

namespace invar {
namespace {

constexpr Stage kStage{.layer = 0, .name = "mixed"};

enum class Kind : uint8_t { convolution, delta_rule, state_space };

// One recurrence with its numbers; inputs are those of each position of each sequence.
struct Recurrence {
    Kind kind = Kind::delta_rule;
    RecurrenceCall spec;
    int64_t in = 0, gates = 0, out = 0, columns = 0;
    bool has_bias = true, padded = false;
    std::vector<float> weight, bias, a, dt_bias, d;

    Recurrence(std::mt19937& random, Kind of, const RecurrenceHeads& heads, int taps = 4) : kind(of) {
        const int64_t keys = int64_t{heads.key_heads} * heads.key_width;
        const int64_t values = int64_t{heads.value_heads} * heads.value_width;
        spec = {.layer = 0, .taps = taps, .heads = heads};
        in = 2 * keys + values;
        out = kind == Kind::convolution ? in : values;
        gates = kind == Kind::convolution ? 0 : heads.value_heads * (kind == Kind::delta_rule ? 2 : 1);
        columns = (taps - 1) * in;
        weight = make_inputs(random, in * taps);
        bias = make_inputs(random, in);
        for (int head = 0; head < heads.value_heads; ++head) {
            a.push_back(-std::exp(make_inputs(random, 1)[0]));
            dt_bias.push_back(make_inputs(random, 1)[0]);
            d.push_back(make_inputs(random, 1)[0]);
        }
    }
    // Queries and keys of a delta rule have the length 1, as in models: else a state would grow without bound.
    std::vector<float> make_rows(std::mt19937& random, int64_t rows) const {
        std::vector<float> x = make_inputs(random, rows * in);
        const auto root = std::sqrt(static_cast<float>(spec.heads.key_width));
        for (float& value : x) value = kind == Kind::delta_rule ? value / root : value;
        return x;
    }
    std::unique_ptr<SequenceState> make_state(int sequences) const {
        auto state = SequenceState::create(
            {.geometry = {.layers = {KvGeometry{}},
                          .recurrences = {{.state_elements = spec.heads.state_elements(), .column_elements = columns}},
                          .type = CacheType::f16,
                          .places = {}},
             .units = {sequences},
             .sequences = sequences,
             .digest = {}});
        CHECK(state.has_value(), "a small state fits in memory");
        for (int i = 0; i < sequences; ++i) (*state)->add_sequence();
        return std::move(*state);
    }
    // Rows of x and of out lie in wider tensors if `padded`.
    Tensor run(Ops& ops, const Batch& batch, const std::vector<float>& x, const std::vector<float>& gate,
               SequenceState& state) const {
        const int64_t rows = batch.size(), extra = padded ? 3 : 0;
        const Tensor wide_in = ops.scratch(rows, in + extra), wide_out = ops.scratch(rows, out + extra);
        const Tensor inputs = wide_in.columns(extra, in), results = wide_out.columns(extra, out);
        fill(inputs, x);
        const auto vector = [](const std::vector<float>& values) {
            return WeightVector{.id = {}, .data = values.data(), .size = std::ssize(values)};
        };
        if (kind == Kind::convolution) {
            const WeightVector weights = vector(weight), biases = vector(bias);
            ops.causal_convolution(kStage, spec, batch, inputs, weights, has_bias ? &biases : nullptr, state, results);
            return results;
        }
        const Tensor steps = make_tensor(ops, rows, gates, gate);
        if (kind == Kind::delta_rule) {
            ops.delta_rule(kStage, spec, batch, inputs, steps, vector(a), vector(dt_bias), state, results);
        } else {
            ops.state_space(kStage, spec, batch, inputs, steps, vector(a), vector(dt_bias), vector(d), state, results);
        }
        return results;
    }
};

struct Positions {
    std::vector<std::vector<float>> x, gates;  // of each sequence, [positions, width]
};
struct Outcome {
    std::vector<std::vector<float>> out, states;  // of each sequence
};

enum class Order : uint8_t { alone, side_by_side, in_turn };

// All positions of all sequences in passes of `chunk` positions of each.
Outcome run_all(const Recurrence& recurrence, Ops& ops, const Positions& inputs, int64_t chunk, Order order) {
    const auto sequences = static_cast<int>(inputs.x.size());
    const auto state = recurrence.make_state(sequences);
    std::vector<int64_t> lengths;
    Outcome outcome;
    for (int s = 0; s < sequences; ++s) {
        lengths.push_back(std::ssize(inputs.x[static_cast<size_t>(s)]) / recurrence.in);
        outcome.out.emplace_back(static_cast<size_t>(lengths.back() * recurrence.out));
        CHECK(state->reserve(s, lengths.back()).has_value(), "a sequence has its slot");
    }
    const auto pass = [&](const Batch& batch) {
        std::vector<float> x, gates;
        for (const BatchRow& row : batch.rows) {
            const auto append = [&](std::vector<float>& to, const std::vector<float>& from, int64_t width) {
                to.insert(to.end(), from.begin() + row.position * width, from.begin() + (row.position + 1) * width);
            };
            append(x, inputs.x[static_cast<size_t>(row.sequence)], recurrence.in);
            append(gates, inputs.gates[static_cast<size_t>(row.sequence)], recurrence.gates);
        }
        ops.begin_pass();
        const Tensor out = recurrence.run(ops, batch, x, gates, *state);
        EXPECT_FALSE(ops.failure().has_value());
        for (int64_t i = 0; i < batch.size(); ++i) {
            const BatchRow& row = batch.rows[static_cast<size_t>(i)];
            std::copy_n(out.host_row(i), recurrence.out,
                        outcome.out[static_cast<size_t>(row.sequence)].data() + row.position * recurrence.out);
        }
    };
    const int64_t longest = *std::max_element(lengths.begin(), lengths.end());
    for (int64_t start = 0; start < longest; start += chunk) {
        std::vector<BatchRow> rows;
        for (int s = 0; s < sequences; ++s) {
            for (int64_t t = start; t < std::min(start + chunk, lengths[static_cast<size_t>(s)]); ++t)
                rows.push_back({.token = 0, .sequence = s, .position = t});
            if (order == Order::alone && !rows.empty()) pass({.rows = std::move(rows)}), rows = {};
        }
        if (order == Order::in_turn)
            std::stable_sort(rows.begin(), rows.end(),
                             [](const BatchRow& one, const BatchRow& other) { return one.position < other.position; });
        if (!rows.empty()) pass({.rows = rows});
    }
    for (int s = 0; s < sequences; ++s) {
        const std::span<float> kept = state->recurrence(s, 0);
        outcome.states.emplace_back(kept.begin(), kept.end());
    }
    return outcome;
}

Positions make_positions(std::mt19937& random, const Recurrence& recurrence, const std::vector<int64_t>& lengths) {
    Positions inputs;
    for (const int64_t length : lengths) {
        inputs.x.push_back(recurrence.make_rows(random, length));
        inputs.gates.push_back(make_inputs(random, length * recurrence.gates));
    }
    return inputs;
}

void compare_outcomes(const Outcome& expected, const Outcome& actual, const std::string& what, Comparison& comparison) {
    const int64_t differed = comparison.differ();
    for (size_t s = 0; s < expected.out.size(); ++s) {
        comparison.add(expected.out[s].data(), actual.out[s].data(), std::ssize(expected.out[s]));
        comparison.add(expected.states[s].data(), actual.states[s].data(), std::ssize(expected.states[s]));
    }
    EXPECT_EQ(comparison.differ(), differed) << what;
}

// The law, token by token, against every backend in every chunking.
void compare_everywhere(std::mt19937& random, const Recurrence& recurrence, const std::vector<int64_t>& lengths,
                        Comparison& comparison) {
    const Positions inputs = make_positions(random, recurrence, lengths);
    ReferenceOps reference;
    const Outcome expected = run_all(recurrence, reference, inputs, 1, Order::alone);
    for (Backend& backend : all_backends()) {
        for (const int64_t chunk : {int64_t{1}, int64_t{7}, int64_t{64}, int64_t{1000}}) {
            if (backend.isa == Isa::scalar && chunk != 7) continue;
            for (const Order order : {Order::alone, Order::side_by_side, Order::in_turn}) {
                if (chunk == 1 && order == Order::in_turn) continue;  // the same as side by side
                // More threads change the split and not the passes.
                if (backend.pool->threads() > 2 && (chunk == 1 || chunk == 64 || order == Order::alone)) continue;
                compare_outcomes(expected, run_all(recurrence, *backend.ops, inputs, chunk, order),
                                 backend.name() + ", chunk " + std::to_string(chunk), comparison);
            }
        }
    }
}

RecurrenceHeads heads_of(int key_heads, int value_heads, int key_width, int value_width, bool interleaved = false) {
    return {.key_heads = key_heads,
            .value_heads = value_heads,
            .key_width = key_width,
            .value_width = value_width,
            .interleaved = interleaved};
}

TEST(CpuOpsRecurrence, DeltaRulesOfEveryShapeEqualTheLawInEveryChunking) {
    std::mt19937 random(81);
    Comparison comparison;
    int shapes = 0;
    for (const RecurrenceHeads& heads :
         {heads_of(1, 1, 1, 1), heads_of(2, 4, 16, 16), heads_of(1, 3, 24, 40), heads_of(2, 2, 7, 19),
          heads_of(1, 2, 33, 129), heads_of(2, 6, 64, 64, true), heads_of(1, 2, 128, 128)}) {
        Recurrence recurrence(random, Kind::delta_rule, heads);
        recurrence.padded = shapes++ % 2 == 1;
        compare_everywhere(random, recurrence, {70, 1, 13, 129}, comparison);
    }
    comparison.print("delta_rule, " + std::to_string(shapes) + " shapes");
}

TEST(CpuOpsRecurrence, StateSpacesOfEveryShapeEqualTheLawInEveryChunking) {
    std::mt19937 random(82);
    Comparison comparison;
    int shapes = 0;
    for (const RecurrenceHeads& heads : {heads_of(1, 1, 1, 1), heads_of(1, 4, 16, 16), heads_of(2, 4, 24, 40),
                                         heads_of(3, 3, 7, 19), heads_of(1, 2, 33, 129), heads_of(2, 8, 128, 64)}) {
        Recurrence recurrence(random, Kind::state_space, heads);
        recurrence.padded = shapes++ % 2 == 1;
        compare_everywhere(random, recurrence, {70, 1, 13, 129}, comparison);
    }
    comparison.print("state_space, " + std::to_string(shapes) + " shapes");
}

TEST(CpuOpsRecurrence, ConvolutionsOfEveryWidthEqualTheLawInEveryChunking) {
    std::mt19937 random(83);
    Comparison comparison;
    int shapes = 0;
    for (const int taps : {1, 2, 3, 4, 5, 16}) {
        for (const RecurrenceHeads& heads : {heads_of(1, 1, 1, 1), heads_of(1, 1, 20, 25), heads_of(2, 4, 64, 70)}) {
            Recurrence recurrence(random, Kind::convolution, heads, taps);
            recurrence.padded = shapes % 2 == 1;
            recurrence.has_bias = shapes++ % 3 != 0;
            for (const Activation kind : {Activation::silu, Activation::identity}) {
                recurrence.spec.activation = kind;
                compare_everywhere(random, recurrence, {70, 1, 13}, comparison);
            }
        }
    }
    comparison.print("causal_convolution, " + std::to_string(shapes) + " shapes");
}

// A batch of more sequences than threads, in an order of its own.
TEST(CpuOpsRecurrence, ManySequencesOfOneBatchKeepTheirStatesApart) {
    std::mt19937 random(84);
    Comparison comparison;
    const std::vector<int64_t> lengths = {3, 9, 1, 4, 8, 2, 2, 5, 7, 6, 1, 3, 5, 9, 2, 4, 6, 8, 1, 7};
    for (const Kind kind : {Kind::delta_rule, Kind::state_space, Kind::convolution})
        compare_everywhere(random, Recurrence(random, kind, heads_of(1, 2, 16, 48)), lengths, comparison);
    comparison.print("recurrences of 20 sequences");
}

TEST(CpuOpsRecurrence, TheFirstNonFiniteResultIsFoundAtItsRowAndElement) {
    std::mt19937 random(85);
    int64_t found = 0;
    for (const Kind kind : {Kind::delta_rule, Kind::state_space, Kind::convolution}) {
        const Recurrence recurrence(random, kind, heads_of(2, 4, 32, 40));
        for (int round = 0; round < 12; ++round) {
            Batch batch = rows_of(0, 0, 10);
            for (const BatchRow& row : rows_of(1, 0, 10).rows) batch.rows.push_back(row);
            std::vector<float> x = recurrence.make_rows(random, 20), gates = make_inputs(random, 20 * recurrence.gates);
            for (int i = 0; i < 2; ++i) x[random() % x.size()] = i == 0 ? NAN : INFINITY;
            const auto failure = [&](Ops& ops) {
                const auto state = recurrence.make_state(2);
                for (const int s : {0, 1}) CHECK(state->reserve(s, 10).has_value(), "a sequence has its slot");
                ops.begin_pass();
                recurrence.run(ops, batch, x, gates, *state);
                return ops.failure();
            };
            ReferenceOps reference;
            const auto expected = failure(reference);
            ASSERT_TRUE(expected.has_value());
            for (Backend& backend : all_backends()) {
                EXPECT_TRUE(same_failure(expected, failure(*backend.ops))) << backend.name();
                ++found;
            }
        }
    }
    printf("[non-finite] %lld injections located alike\n", static_cast<long long>(found));
}

// Wrong copies of the steps must be noticed by comparing results and states.
TEST(CpuOpsRecurrence, WrongStepsAreCaught) {
    std::mt19937 random(86);
    const int key_width = 16, width = 8;
    const auto key = make_inputs(random, key_width), query = make_inputs(random, key_width),
               value = make_inputs(random, width), start = make_inputs(random, key_width * width);
    const float decay = 0.83f, beta = 0.61f;
    std::vector<float> right = start, out(width);
    law::delta_step(query.data(), key.data(), value.data(), decay, beta, key_width, width, right.data(), out.data());
    Mutations mutations;
    const char* const names[] = {"the key is read before the state decays", "product and sum rounded apart",
                                 "beta times value and product apart", "the result reads the state before the step",
                                 "rows added from the last one"};
    for (int how = 0; how < 5; ++how) {
        std::vector<float> state = start;
        Comparison comparison;
        for (int j = 0; j < width; ++j) {
            float p = 0, o = 0;
            for (int n = 0; n < key_width; ++n) {
                const int i = how == 4 ? key_width - 1 - n : n;
                const float element = state[static_cast<size_t>(i * width + j)];
                const float kept = how == 0 ? element : element * decay;
                p = how == 1 ? p + kept * key[static_cast<size_t>(i)] : std::fma(kept, key[static_cast<size_t>(i)], p);
            }
            const float v = value[static_cast<size_t>(j)];
            const float delta = how == 2 ? v * beta - p * beta : (v - p) * beta;
            for (int i = 0; i < key_width; ++i) {
                float& element = state[static_cast<size_t>(i * width + j)];
                const float before = element;
                element = std::fma(key[static_cast<size_t>(i)], delta, element * decay);
                o = std::fma(how == 3 ? before : element, query[static_cast<size_t>(i)], o);
            }
            comparison.add(out[static_cast<size_t>(j)], o);
        }
        comparison.add(right.data(), state.data(), key_width * width);
        mutations.add(names[how], comparison);
    }
    mutations.print("delta_step");
    EXPECT_EQ(mutations.caught(), mutations.total());
}

}  // namespace
}  // namespace invar
