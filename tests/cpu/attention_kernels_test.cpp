// Every attention kernel against law::compute_chunk and law::merge (arithmetic/attention.h) on pages laid out as the
// cache has them.
#include "cpu/attention_kernels.h"

#include <gtest/gtest.h>

#include <cstring>

#include "arithmetic/attention.h"
#include "arithmetic/float_types.h"
#include "comparison.h"

namespace invar {
namespace {

std::vector<const AttentionKernels*> kernels_here() {
    std::vector<const AttentionKernels*> here;
    for (const AttentionKernels* kernels : attention_kernels()) {
        if (detect_isa().has(kernels->isa)) here.push_back(kernels);
    }
    return here;
}

uint16_t narrowed(CachedFloat type, float x) { return type == CachedFloat::f16 ? f32_to_f16(x) : f32_to_bf16(x); }
float widened(CachedFloat type, uint16_t x) { return type == CachedFloat::f16 ? f16_to_f32(x) : bf16_to_f32(x); }

// A page in the cache's layout and the same numbers as rows.
struct Page {
    std::vector<std::vector<float>> keys, values;  // [64]
    std::vector<std::byte> memory;
    std::byte* stored_keys = nullptr;
    std::byte* stored_values = nullptr;

    Page(std::mt19937& random, CachedFloat type, int key_width, int value_width, Inputs kind) {
        const int64_t element = type == CachedFloat::f32 ? 4 : 2;
        const int64_t key_bytes = key_width * kChunkLanes * element;
        memory.resize(static_cast<size_t>(key_bytes + value_width * kChunkLanes * element) + 64);
        stored_keys = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
        stored_values = stored_keys + key_bytes;
        for (int t = 0; t < kChunkLanes; ++t) {
            keys.push_back(stored(random, type, key_width, kind, stored_keys, kChunkLanes, t));
            values.push_back(stored(random, type, value_width, kind, stored_values, 1, int64_t{t} * value_width));
        }
    }
    void put_values_into_keys(int value_width) {
        for (int t = 0; t < kChunkLanes; ++t) {
            const std::vector<float>& key = keys[static_cast<size_t>(t)];
            values[static_cast<size_t>(t)].assign(key.begin(), key.begin() + value_width);
        }
    }

    static std::vector<float> stored(std::mt19937& random, CachedFloat type, int width, Inputs kind, std::byte* place,
                                     int64_t stride, int64_t first) {
        std::vector<float> row = make_inputs(random, width, kind);
        for (int i = 0; i < width; ++i) {
            const int64_t index = first + i * stride;
            if (type == CachedFloat::f32) {
                std::memcpy(place + index * 4, &row[static_cast<size_t>(i)], 4);
            } else {
                const uint16_t half = narrowed(type, row[static_cast<size_t>(i)]);
                std::memcpy(place + index * 2, &half, 2);
                row[static_cast<size_t>(i)] = widened(type, half);
            }
        }
        return row;
    }
};

struct Case {
    CachedFloat type = CachedFloat::f16;
    int key_width = 64, value_width = 64, queries = 1;
    float softcap = 0;
    Inputs kind = Inputs::usual;
    bool same_visible = false;
    bool values_in_keys = false;
};

struct Results {
    std::vector<float> m, l, o, scores;
};

struct Problem {
    Case shape;
    Page page;
    std::vector<std::vector<float>> queries;
    std::vector<const float*> pointers;
    std::vector<VisibleLanes> visible;

    Problem(std::mt19937& random, const Case& c) : shape(c), page(random, c.type, c.key_width, c.value_width, c.kind) {
        if (c.values_in_keys) page.put_values_into_keys(c.value_width);
        for (int q = 0; q < c.queries; ++q) {
            queries.push_back(make_inputs(random, c.key_width, c.kind));
            const int a = static_cast<int>(random() % 64), b = static_cast<int>(random() % 64);
            VisibleLanes lanes{.first = std::min(a, b), .last = std::max(a, b) + 1};
            if (random() % 3 == 0) lanes = {.first = 0, .last = kChunkLanes};
            if (c.same_visible && q > 0) lanes = visible[0];
            visible.push_back(lanes);
        }
        for (const auto& query : queries) pointers.push_back(query.data());
    }

    Results run(const AttentionKernels& kernels) const {
        const auto count = static_cast<size_t>(shape.queries);
        Results results;
        results.m.resize(count, -7);
        results.l.resize(count, -7);
        results.o.resize(count * static_cast<size_t>(shape.value_width), -7);
        results.scores.resize(count * kChunkLanes);
        std::vector<float> turned(static_cast<size_t>(kChunkLanes * shape.value_width));
        kernels.chunk({.keys = page.stored_keys,
                       .values = shape.values_in_keys ? nullptr : page.stored_values,
                       .next_keys = shape.queries % 2 == 0 ? page.stored_keys : nullptr,
                       .type = shape.type,
                       .key_width = shape.key_width,
                       .value_width = shape.value_width,
                       .values_in_keys = shape.values_in_keys,
                       .turned = shape.values_in_keys ? turned.data() : nullptr,
                       .scale = 0.125f,
                       .softcap = shape.softcap,
                       .queries = shape.queries,
                       .query = pointers.data(),
                       .visible = visible.data(),
                       .m = results.m.data(),
                       .l = results.l.data(),
                       .o = results.o.data(),
                       .scores = results.scores.data()});
        return results;
    }

    AttentionSpec spec() const {
        return {.head_width = shape.key_width,
                .value_width = shape.value_width,
                .scale = 0.125f,
                .softcap = shape.softcap,
                .sink = {}};
    }
    AttentionChunk law_of(size_t query) const {
        return law::compute_chunk(
            spec(), queries[query].data(), 0, {visible[query].first, visible[query].last},
            [&](int64_t t) { return page.keys[static_cast<size_t>(t)].data(); },
            [&](int64_t t) { return page.values[static_cast<size_t>(t)].data(); });
    }
    void compare(const Results& actual, Comparison& comparison) const {
        for (size_t q = 0; q < queries.size(); ++q) {
            const AttentionChunk expected = law_of(q);
            // m may differ in the sign of a zero (attention_kernels_body.h): + 0 makes it one.
            comparison.add(expected.m + 0.0f, actual.m[q] + 0.0f);
            comparison.add(expected.l, actual.l[q]);
            comparison.add(expected.o.data(), actual.o.data() + q * expected.o.size(), shape.value_width);
        }
    }
};

TEST(AttentionKernels, ChunksEqualTheLaw) {
    for (const AttentionKernels* kernels : kernels_here()) {
        std::mt19937 random(11);
        Comparison comparison;
        for (const CachedFloat type : {CachedFloat::f16, CachedFloat::bf16, CachedFloat::f32}) {
            for (const int width : {1, 5, 8, 16, 20, 64, 72, 80, 96, 128, 256}) {
                for (const int queries : {1, 2, 3, 4, 5, 7, 8}) {
                    const Problem problem(random, {.type = type,
                                                   .key_width = width,
                                                   .value_width = queries % 2 == 0 ? width : width + 8,
                                                   .queries = queries,
                                                   .softcap = queries == 3 ? 30.0f : 0.0f,
                                                   .kind = queries >= 5 ? Inputs::hard : Inputs::usual,
                                                   .same_visible = queries == 4});
                    problem.compare(problem.run(*kernels), comparison);
                }
            }
        }
        EXPECT_EQ(comparison.differ(), 0) << kernels->name;
        comparison.print(std::string(kernels->name) + " attention chunk");
    }
}

// Latent attention: a value is the first elements of its key.
TEST(AttentionKernels, ChunksWhoseValuesLieInKeysEqualTheLaw) {
    for (const AttentionKernels* kernels : kernels_here()) {
        std::mt19937 random(16);
        Comparison comparison;
        for (const CachedFloat type : {CachedFloat::f16, CachedFloat::bf16, CachedFloat::f32}) {
            for (const auto& [key_width, value_width] :
                 {std::pair{1, 1}, {9, 7}, {32, 24}, {40, 33}, {96, 64}, {100, 100}, {576, 512}}) {
                for (const int queries : {1, 2, 3, 6, 128}) {
                    if (queries == 128 && key_width != 576) continue;
                    const Problem problem(random, {.type = type,
                                                   .key_width = key_width,
                                                   .value_width = value_width,
                                                   .queries = queries,
                                                   .kind = queries == 3 ? Inputs::hard : Inputs::usual,
                                                   .same_visible = queries >= 6,
                                                   .values_in_keys = true});
                    problem.compare(problem.run(*kernels), comparison);
                }
            }
        }
        EXPECT_EQ(comparison.differ(), 0) << kernels->name;
        comparison.print(std::string(kernels->name) + " attention chunk, values in keys");
    }
}

TEST(AttentionKernels, MergeAndFinishEqualTheLaw) {
    for (const AttentionKernels* kernels : kernels_here()) {
        std::mt19937 random(12);
        Comparison comparison;
        for (const int width : {1, 7, 8, 16, 30, 64, 80, 128, 256}) {
            for (int round = 0; round < 50; ++round) {
                const Inputs kind = round % 2 == 0 ? Inputs::usual : Inputs::hard;
                // 1 to 20 queries together, which are whole registers of lanes and a rest.
                const int queries = 1 + round % 20;
                std::vector<AttentionChunk> states, nexts;
                std::vector<float> m, l, o, next_m, next_l, next_o;
                for (int q = 0; q < queries; ++q) {
                    states.push_back({make_inputs(random, 1, kind)[0], std::fabs(make_inputs(random, 1)[0]),
                                      make_inputs(random, width, kind)});
                    nexts.push_back({make_inputs(random, 1, kind)[0], std::fabs(make_inputs(random, 1)[0]),
                                     make_inputs(random, width, kind)});
                    m.push_back(states.back().m);
                    l.push_back(states.back().l);
                    o.insert(o.end(), states.back().o.begin(), states.back().o.end());
                    next_m.push_back(nexts.back().m);
                    next_l.push_back(nexts.back().l);
                    next_o.insert(next_o.end(), nexts.back().o.begin(), nexts.back().o.end());
                    law::merge(states.back(), nexts.back());
                }
                kernels->merge({.queries = queries,
                                .value_width = width,
                                .m = m.data(),
                                .l = l.data(),
                                .o = o.data(),
                                .next_m = next_m.data(),
                                .next_l = next_l.data(),
                                .next_o = next_o.data()});
                for (int q = 0; q < queries; ++q) {
                    const AttentionChunk& expected = states[static_cast<size_t>(q)];
                    comparison.add(expected.m, m[static_cast<size_t>(q)]);
                    comparison.add(expected.l, l[static_cast<size_t>(q)]);
                    comparison.add(expected.o.data(), o.data() + q * width, width);
                }
                const AttentionChunk& state = states.back();
                AttentionSpec spec;
                spec.value_width = width;
                std::vector<float> expected(state.o.size()), finished(state.o.size());
                law::finish_attention(spec, state, expected.data());
                kernels->finish(state.l, state.o.data(), width, finished.data());
                comparison.add(expected.data(), finished.data(), width);
            }
        }
        EXPECT_EQ(comparison.differ(), 0) << kernels->name;
        comparison.print(std::string(kernels->name) + " merge and finish");
    }
}

// Non-finite scores must end in NaN, as in the law, and never be dropped by a maximum.
TEST(AttentionKernels, NonFiniteScoresAreNotLost) {
    for (const AttentionKernels* kernels : kernels_here()) {
        std::mt19937 random(13);
        int64_t outputs = 0;
        for (int round = 0; round < 200; ++round) {
            Problem problem(random, {.type = CachedFloat::f32, .key_width = 16, .value_width = 16, .queries = 2});
            const VisibleLanes visible = problem.visible[0];
            const int t =
                visible.first + static_cast<int>(random() % static_cast<uint32_t>(visible.last - visible.first));
            const float bad = round % 2 == 0 ? NAN : INFINITY;
            std::memcpy(problem.page.stored_keys + (5 * kChunkLanes + t) * 4, &bad, 4);
            problem.page.keys[static_cast<size_t>(t)][5] = bad;
            problem.queries[0][5] = 1.0f;
            const Results results = problem.run(*kernels);
            const AttentionChunk expected = problem.law_of(0);
            for (size_t i = 0; i < 16; ++i, ++outputs) {
                EXPECT_EQ(std::isnan(expected.o[i]), std::isnan(results.o[i]));
                EXPECT_TRUE(std::isnan(results.o[i]));
            }
        }
        EXPECT_EQ(outputs, 3200);
    }
}

// What a query does not see may be anything, also NaN left by an earlier sequence.
TEST(AttentionKernels, InvisiblePositionsHaveNoInfluence) {
    for (const AttentionKernels* kernels : kernels_here()) {
        std::mt19937 random(14);
        Comparison comparison;
        for (int round = 0; round < 100; ++round) {
            const CachedFloat type = round % 2 == 0 ? CachedFloat::f32 : CachedFloat::f16;
            Problem problem(random,
                            {.type = type, .key_width = 32, .value_width = 40, .queries = 4, .same_visible = true});
            const Results before = problem.run(*kernels);
            for (int t = 0; t < kChunkLanes; ++t) {
                if (t >= problem.visible[0].first && t < problem.visible[0].last) continue;
                const uint32_t wide = 0x7FC00000u;
                const uint16_t half = 0x7E00u;
                for (int i = 0; i < 32; ++i) {
                    if (type == CachedFloat::f32)
                        std::memcpy(problem.page.stored_keys + (i * kChunkLanes + t) * 4, &wide, 4);
                    if (type == CachedFloat::f16)
                        std::memcpy(problem.page.stored_keys + (i * kChunkLanes + t) * 2, &half, 2);
                }
                for (int i = 0; i < 40; ++i) {
                    if (type == CachedFloat::f32) std::memcpy(problem.page.stored_values + (t * 40 + i) * 4, &wide, 4);
                    if (type == CachedFloat::f16) std::memcpy(problem.page.stored_values + (t * 40 + i) * 2, &half, 2);
                }
            }
            const Results after = problem.run(*kernels);
            comparison.add(before.m.data(), after.m.data(), 4);
            comparison.add(before.l.data(), after.l.data(), 4);
            comparison.add(before.o.data(), after.o.data(), 4 * 40);
        }
        EXPECT_EQ(comparison.differ(), 0) << kernels->name;
    }
}

TEST(AttentionKernels, SkippedKeysWrongMasksAndSwappedHeadsAreCaught) {
    std::mt19937 random(15);
    Mutations mutations;
    for (const CachedFloat type : {CachedFloat::f16, CachedFloat::f32}) {
        const Problem problem(random, {.type = type, .key_width = 64, .value_width = 64, .queries = 4});
        const AttentionKernels& kernels = choose_attention_kernels(supported_isas().back());
        const auto mutate = [&](const char* what, auto&& change) {
            Problem wrong = problem;
            for (size_t q = 0; q < wrong.queries.size(); ++q) wrong.pointers[q] = wrong.queries[q].data();
            const size_t offset = static_cast<size_t>(problem.page.stored_keys - problem.page.memory.data());
            wrong.page.stored_keys = wrong.page.memory.data() + offset;
            wrong.page.stored_values = wrong.page.stored_keys + (problem.page.stored_values - problem.page.stored_keys);
            change(wrong);
            Comparison comparison;
            problem.compare(wrong.run(kernels), comparison);
            mutations.add(what, comparison);
        };
        mutate("a key skipped at the end", [](Problem& p) {
            for (auto& v : p.visible) v.last = std::max(v.first + 1, v.last - 1);
        });
        mutate("a key skipped at the start", [](Problem& p) {
            for (auto& v : p.visible) v.first = std::min(v.last - 1, v.first + 1);
        });
        mutate("a key too many", [](Problem& p) {
            for (auto& v : p.visible) v.last = std::min(64, v.last + 1);
        });
        mutate("two heads swapped", [](Problem& p) { std::swap(p.pointers[0], p.pointers[1]); });
        mutate("the last element of the key skipped", [](Problem& p) { --p.shape.key_width; });
        mutate("keys off by one lane",
               [](Problem& p) { p.page.stored_keys += p.shape.type == CachedFloat::f32 ? 4 : 2; });
        mutate("values of the neighbour position",
               [](Problem& p) { p.page.stored_values -= p.shape.type == CachedFloat::f32 ? 256 : 128; });
    }
    mutations.print("attention kernels");
    EXPECT_EQ(mutations.caught(), mutations.total());
}

}  // namespace
}  // namespace invar
