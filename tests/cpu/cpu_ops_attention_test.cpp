// Attention and the cache through CpuOps, against ReferenceOps: head widths, groups, windows, cache types, positions
// across chunk borders, batches of mixed sequences, long contexts split over threads, and the bytes of the cache.
#include <gtest/gtest.h>

#include <algorithm>

#include "ops/visible_rows.h"
#include "verb_case.h"

namespace invar {
namespace {

constexpr Stage kStage{.layer = 0, .name = "attention"};

struct Shape {
    int kv_heads = 2, group = 1, key_width = 64, value_width = 64, window = 0;
    float softcap = 0;
    CacheType type = CacheType::f16;
    bool values_in_keys = false;
    Reach reach = Reach::causal;
};

// A cache of one layer whose sequences have random keys and values at [0, length).
class FilledCache {
  public:
    FilledCache(std::mt19937& random, const Shape& shape, const std::vector<int64_t>& lengths) : shape_(shape) {
        int64_t pages = 0;
        for (const int64_t length : lengths) pages += pages_for(length);
        cache_ = make_cache({{.kv_heads = shape.kv_heads,
                              .key_width = shape.key_width,
                              .value_width = shape.value_width,
                              .reach = shape.reach,
                              .window = shape.window,
                              .values_in_keys = shape.values_in_keys}},
                            shape.type, pages);
        // Pages of the sequences interleave, as they do in use.
        const int64_t longest = *std::max_element(lengths.begin(), lengths.end());
        for (size_t i = 0; i < lengths.size(); ++i) cache_->add_sequence();
        for (int64_t count = 64; count < longest + 64; count += 64) {
            for (size_t i = 0; i < lengths.size(); ++i)
                CHECK(cache_->reserve(static_cast<int32_t>(i), std::min(count, lengths[i])).has_value(), "room");
        }
        ReferenceOps writer;
        for (size_t i = 0; i < lengths.size(); ++i) {
            writer.begin_pass();
            const Batch batch = rows_of(static_cast<int32_t>(i), 0, lengths[i]);
            writer.store_kv(kStage, 0, batch,
                            make_tensor(writer, batch.size(), key_row(),
                                        make_inputs(random, batch.size() * key_row(), Inputs::usual)),
                            make_tensor(writer, batch.size(), value_row(),
                                        make_inputs(random, batch.size() * value_row(), Inputs::usual)),
                            *cache_);
        }
    }
    int64_t key_row() const { return int64_t{shape_.kv_heads} * shape_.key_width; }
    int64_t value_row() const { return int64_t{shape_.kv_heads} * shape_.value_width; }
    SequenceState& cache() { return *cache_; }

  private:
    Shape shape_;
    std::unique_ptr<SequenceState> cache_;
};

// One attention call on the reference and on the backends.
void compare_attention(std::mt19937& random, const Shape& shape, FilledCache& filled, const Batch& batch,
                       Comparison& comparison, bool vector_tiers_only = false) {
    const int heads = shape.kv_heads * shape.group;
    const int64_t query_width = int64_t{heads} * shape.key_width, out_width = int64_t{heads} * shape.value_width;
    const auto queries = make_inputs(random, batch.size() * query_width);
    const AttentionCall call{.layer = 0,
                             .heads = heads,
                             .scale = 1.0f / std::sqrt(static_cast<float>(shape.key_width)),
                             .softcap = shape.softcap};
    const auto attend = [&](Ops& ops) {
        const Tensor out = ops.scratch(batch.size(), out_width);
        ops.attention(kStage, call, batch, make_tensor(ops, batch.size(), query_width, queries), filled.cache(), out);
        return out;
    };
    ReferenceOps reference;
    const Tensor expected = attend(reference);
    for (Backend& backend : all_backends()) {
        if (backend.isa == Isa::scalar && (vector_tiers_only || backend.pool->threads() == 2)) continue;
        backend.ops->begin_pass();
        const int64_t differed = comparison.differ();
        compare(expected, attend(*backend.ops), comparison);
        EXPECT_EQ(comparison.differ(), differed) << backend.name();
        EXPECT_FALSE(backend.ops->failure().has_value());
    }
}

TEST(CpuOpsAttention, EveryHeadWidthGroupAndCacheTypeEqualsTheLaw) {
    std::mt19937 random(51);
    Comparison comparison;
    int shapes = 0;
    for (const int width : {64, 80, 96, 128, 256}) {
        for (const int group : {1, 2, 4, 8}) {
            const CacheType type = static_cast<CacheType>(shapes++ % 3);
            const Shape shape{.kv_heads = width == 256 ? 1 : 2,
                              .group = group,
                              .key_width = width,
                              .value_width = group == 2 ? width / 2 : width,
                              .window = 0,
                              .softcap = group == 8 ? 50.0f : 0.0f,
                              .type = type};
            FilledCache filled(random, shape, {200});
            for (const int64_t position : {0, 1, 62, 63, 64, 65, 127, 128, 199}) {
                compare_attention(random, shape, filled, rows_of(0, position, 1), comparison, position > 65);
            }
            compare_attention(random, shape, filled, rows_of(0, 120, 20), comparison, true);  // a prompt chunk
        }
    }
    comparison.print("attention, " + std::to_string(shapes) + " shapes");
}

// Latent attention: many query heads, one key, whose first elements are the value. Long enough for waves of chunks, of
// which few wait because they are large.
TEST(CpuOpsAttention, ValuesInKeysEqualTheLawAtRealWidths) {
    std::mt19937 random(57);
    Comparison comparison;
    int shapes = 0;
    for (const int heads : {4, 20, 128}) {
        for (const CacheType type : {CacheType::f16, CacheType::bf16, CacheType::f32}) {
            const bool real = heads == 128;
            if (real && type != CacheType::f16) continue;
            const Shape shape{.kv_heads = 1,
                              .group = heads,
                              .key_width = real ? 576 : 32,
                              .value_width = real ? 512 : 24,
                              .type = type,
                              .values_in_keys = true};
            const int64_t length = real ? 140 : 900;
            FilledCache filled(random, shape, {length});
            for (const int64_t position : {int64_t{0}, int64_t{64}, length - 1})
                compare_attention(random, shape, filled, rows_of(0, position, 1), comparison, true);
            compare_attention(random, shape, filled, rows_of(0, 62, real ? 3 : 9), comparison, true);
            ++shapes;
        }
    }
    comparison.print("attention, values in keys, " + std::to_string(shapes) + " shapes");
}

// A sink is a logit of each head; it takes part in chunks, tiles and windows alike.
TEST(CpuOpsAttention, SinksOfEveryHeadEqualTheLaw) {
    std::mt19937 random(57);
    Comparison comparison;
    const int heads = 8;
    for (const int window : {0, 70}) {
        const Shape shape{.kv_heads = 2, .group = 4, .window = window};
        FilledCache filled(random, shape, {300});
        auto sinks = make_inputs(random, heads);
        sinks[1] = 40.0f, sinks[2] = -90.0f;
        const WeightVector sink_logits{.id = {}, .data = sinks.data(), .size = heads};
        for (const Batch& batch : {rows_of(0, 0, 1), rows_of(0, 64, 3), rows_of(0, 299, 1), rows_of(0, 100, 80)}) {
            const auto queries = make_inputs(random, batch.size() * heads * shape.key_width);
            compare_on_all(
                [&](Ops& ops) {
                    const Tensor out = ops.scratch(batch.size(), heads * shape.value_width);
                    ops.attention(kStage, {.layer = 0, .heads = heads, .scale = 0.125f}, batch,
                                  make_tensor(ops, batch.size(), heads * shape.key_width, queries), filled.cache(), out,
                                  &sink_logits);
                    return std::vector<Tensor>{out};
                },
                comparison);
        }
    }
    EXPECT_EQ(comparison.differ(), 0);
    comparison.print("attention with sinks");
}

TEST(CpuOpsAttention, WindowsOfEverySizeEqualTheLaw) {
    std::mt19937 random(52);
    Comparison comparison;
    for (const int window : {1, 2, 17, 63, 64, 65, 100, 128, 300}) {
        const Shape shape{.kv_heads = 2,
                          .group = 2,
                          .key_width = 32,
                          .value_width = 32,
                          .window = window,
                          .softcap = 0,
                          .type = CacheType::f16};
        FilledCache filled(random, shape, {210});
        for (const int64_t position : {0, 16, 63, 64, 99, 128, 209})
            compare_attention(random, shape, filled, rows_of(0, position, 1), comparison);
        compare_attention(random, shape, filled, rows_of(0, 0, 210), comparison, true);
        Batch gaps;  // rows of one sequence whose windows do not touch
        for (const int64_t position : {3, 70, 200})
            gaps.rows.push_back({.token = 0, .sequence = 0, .position = position});
        compare_attention(random, shape, filled, gaps, comparison);
    }
    comparison.print("windows");
}

TEST(CpuOpsAttention, BlocksOfEverySizeEqualTheLaw) {
    std::mt19937 random(58);
    Comparison comparison;
    for (const int block : {1, 5, 63, 64, 65, 100, 300}) {
        const Shape shape{
            .kv_heads = 2, .group = 2, .key_width = 32, .value_width = 32, .window = block, .reach = Reach::in_blocks};
        FilledCache filled(random, shape, {210, 130});
        for (const int64_t position : {0, 4, 5, 63, 64, 99, 100, 209})
            compare_attention(random, shape, filled, rows_of(0, position, 1), comparison);
        Batch both = rows_of(0, 0, 210);
        for (int64_t position = 90; position < 130; ++position)
            both.rows.push_back({.token = 0, .sequence = 1, .position = position});
        compare_attention(random, shape, filled, both, comparison, true);
    }
    comparison.print("blocks");
}

// Whole texts beside each other, one of them in two runs of rows; few rows of a long one go in waves of chunks.
TEST(CpuOpsAttention, BothWaysEqualsTheLawForSeveralTextsInOneBatch) {
    std::mt19937 random(59);
    Comparison comparison;
    for (const int window : {0, 1, 6, 128, 200}) {
        const Shape shape{.kv_heads = window == 6 ? 2 : 1,
                          .group = 3,
                          .key_width = 24,
                          .value_width = 16,
                          .window = window,
                          .type = window == 1 ? CacheType::f32 : CacheType::f16,
                          .reach = Reach::both_ways};
        FilledCache filled(random, shape, {210, 1, 64, 700});
        Batch batch = rows_of(0, 0, 150);
        const auto append = [&](int32_t sequence, int64_t first, int64_t last) {
            for (int64_t position = first; position < last; ++position)
                batch.rows.push_back({.token = 0, .sequence = sequence, .position = position});
        };
        append(1, 0, 1);
        append(2, 0, 64);
        append(0, 150, 210);
        compare_attention(random, shape, filled, batch, comparison, true);
        batch.rows.clear();
        append(3, 0, 1);
        append(3, 699, 700);
        compare_attention(random, shape, filled, batch, comparison);
    }
    comparison.print("both ways");
}

// The last visible position is the last of the sequence in the batch, wherever its rows are, and not that of another.
TEST(VisibleRows, EndWhereTheSequenceEndsInTheBatch) {
    Batch batch;
    batch.rows = {{.sequence = 4, .position = 0},
                  {.sequence = 1, .position = 0},
                  {.sequence = 4, .position = 1},
                  {.sequence = 4, .position = 2}};
    EXPECT_EQ(sequence_ends(batch), (std::vector<int64_t>{3, 1, 3, 3}));
    EXPECT_TRUE(has_whole_sequences(batch));
    const VisibleRows visible({.reach = Reach::both_ways, .window = 2}, batch);
    const std::pair<int64_t, int64_t> expected[] = {{0, 2}, {0, 1}, {0, 3}, {1, 3}};
    for (int64_t row = 0; row < batch.size(); ++row) {
        const VisiblePositions seen = visible.of(row);
        EXPECT_EQ(std::pair(seen.first, seen.last), expected[row]) << row;
    }
    batch.rows[2].position = 2;
    batch.rows[3].position = 3;
    EXPECT_FALSE(has_whole_sequences(batch));
}

TEST(CpuOpsAttention, MixedBatchesOf1To512RowsEqualTheLaw) {
    std::mt19937 random(53);
    Comparison comparison;
    for (const int64_t rows : {1, 2, 3, 8, 31, 100, 512}) {
        const Shape shape{.kv_heads = 2,
                          .group = 4,
                          .key_width = 16,
                          .value_width = 24,
                          .window = rows == 100 ? 40 : 0,
                          .softcap = 0,
                          .type = rows % 2 == 0 ? CacheType::bf16 : CacheType::f32};
        const std::vector<int64_t> lengths = {200, 64, 1, 130, 65};
        FilledCache filled(random, shape, lengths);
        Batch batch;
        std::vector<int64_t> next(lengths.size(), 0);
        while (batch.size() <
               rows) {  // runs of rows of random sequences at rising positions, wrapping when one is used up
            const size_t sequence = random() % lengths.size();
            for (int64_t run = static_cast<int64_t>(random() % 40) + 1; run > 0 && batch.size() < rows; --run) {
                if (next[sequence] >= lengths[sequence]) break;
                batch.rows.push_back(
                    {.token = 0, .sequence = static_cast<int32_t>(sequence), .position = next[sequence]++});
            }
            if (std::equal(next.begin(), next.end(), lengths.begin())) std::fill(next.begin(), next.end(), 0);
            if (random() % 8 == 0 && next[sequence] < lengths[sequence]) next[sequence] = lengths[sequence] - 1;
        }
        // A wrapped sequence would break the rule that positions rise within it: give each wrap its own batch by
        // sorting.
        std::stable_sort(batch.rows.begin(), batch.rows.end(), [](const BatchRow& a, const BatchRow& b) {
            return a.sequence != b.sequence ? a.sequence < b.sequence : a.position < b.position;
        });
        compare_attention(random, shape, filled, batch, comparison, rows > 31);
    }
    comparison.print("mixed batches");
}

// Few items and many chunks: chunks of one head are computed by several threads, in waves of 64.
TEST(CpuOpsAttention, LongContextsSplitOverThreadsEqualTheLaw) {
    std::mt19937 random(54);
    Comparison comparison;
    for (const auto& [length, window] :
         {std::pair<int64_t, int>{500, 0}, {700, 0}, {4096, 0}, {4097, 0}, {9000, 0}, {9000, 4500}}) {
        const Shape shape{.kv_heads = 1,
                          .group = 3,
                          .key_width = 16,
                          .value_width = 16,
                          .window = window,
                          .softcap = 0,
                          .type = CacheType::f16};
        FilledCache filled(random, shape, {length, 600});
        compare_attention(random, shape, filled, rows_of(0, length - 1, 1), comparison);
        Batch both = rows_of(0, length - 2, 2);
        both.rows.push_back({.token = 0, .sequence = 1, .position = 599});
        both.rows.push_back({.token = 0, .sequence = 1, .position = 10});
        std::swap(both.rows[2], both.rows[3]);
        compare_attention(random, shape, filled, both, comparison);
    }
    comparison.print("long contexts");
}

TEST(CpuOpsAttention, StoredKeysAndValuesAreTheSameBytesAtEveryTier) {
    std::mt19937 random(55);
    int64_t bytes = 0;
    for (const CacheType type : {CacheType::f16, CacheType::bf16, CacheType::f32}) {
        for (const int width : {1, 7, 64, 80, 128}) {
            const std::vector<KvGeometry> layers = {{.kv_heads = 1, .key_width = 8, .value_width = 8},
                                                    {.kv_heads = 3, .key_width = width, .value_width = width + 5}};
            for (const int64_t rows : {1, 2, 100}) {
                auto keys = make_inputs(random, rows * 3 * width, Inputs::hard),
                     values = make_inputs(random, rows * 3 * (width + 5), Inputs::hard);
                const auto stored = [&](Ops& ops) {
                    auto cache = make_cache(layers, type, 4);
                    const int32_t sequence = cache->add_sequence();
                    CHECK(cache->reserve(sequence, 200).has_value(), "room");
                    ops.store_kv(kStage, 1, rows_of(sequence, 50, rows), make_tensor(ops, rows, 3 * width, keys),
                                 make_tensor(ops, rows, 3 * (width + 5), values), *cache);
                    return cache;
                };
                ReferenceOps reference;
                const auto expected = stored(reference);
                for (Backend& backend : all_backends()) {
                    backend.ops->begin_pass();
                    const auto actual = stored(*backend.ops);
                    EXPECT_EQ(std::memcmp(expected->keys(0, 0, 0), actual->keys(0, 0, 0),
                                          static_cast<size_t>(expected->bytes())),
                              0)
                        << backend.name();
                    bytes += expected->bytes();
                    EXPECT_FALSE(backend.ops->failure().has_value());
                }
            }
        }
    }
    printf("[equality] %lld bytes of caches compared\n", static_cast<long long>(bytes));
}

TEST(CpuOpsAttention, ANumberThatOverflowsTheCacheTypeIsReported) {
    std::mt19937 random(56);
    int located = 0;
    for (const CacheType type : {CacheType::f16, CacheType::bf16, CacheType::f32}) {
        for (int round = 0; round < 20; ++round) {
            const int64_t rows = 9;
            auto keys = make_inputs(random, rows * 128), values = make_inputs(random, rows * 128);
            // 65504 is the largest f16 and 65519.996 still rounds to it; 65520 overflows. For bf16 the border
            // is 3.3961775e38.
            keys[random() % keys.size()] = 65519.996f;
            const bool in_values = round % 2 == 0;
            const float bad = type == CacheType::f16 ? -65520.0f : type == CacheType::bf16 ? 3.4e38f : NAN;
            for (int i = 0; i < 2; ++i) (in_values ? values : keys)[random() % keys.size()] = bad;
            const auto store = [&](Ops& ops) {
                auto cache = make_cache({{.kv_heads = 2, .key_width = 64, .value_width = 64}}, type, 1);
                const int32_t sequence = cache->add_sequence();
                CHECK(cache->reserve(sequence, rows).has_value(), "room");
                ops.store_kv({5, "stored"}, 0, rows_of(sequence, 0, rows), make_tensor(ops, rows, 128, keys),
                             make_tensor(ops, rows, 128, values), *cache);
            };
            ReferenceOps reference;
            store(reference);
            ASSERT_TRUE(reference.failure().has_value());
            EXPECT_EQ(reference.failure()->verb, in_values ? "store_kv (values)" : "store_kv (keys)");
            for (Backend& backend : all_backends()) {
                backend.ops->begin_pass();
                store(*backend.ops);
                EXPECT_TRUE(same_failure(reference.failure(), backend.ops->failure())) << backend.name();
                ++located;
            }
        }
    }
    printf("[non-finite] %d overflows of the cache located alike\n", located);
}

TEST(CpuOpsAttention, NonFiniteResultsAreLocatedAtTheFirstRowAndHead) {
    std::mt19937 random(57);
    int located = 0;
    const Shape shape{.kv_heads = 2,
                      .group = 2,
                      .key_width = 16,
                      .value_width = 16,
                      .window = 0,
                      .softcap = 0,
                      .type = CacheType::f32};
    FilledCache filled(random, shape, {800});
    for (int round = 0; round < 20; ++round) {
        const Batch batch = round % 2 == 0 ? rows_of(0, 799, 1) : rows_of(0, 300, 30);
        auto queries = make_inputs(random, batch.size() * 64);
        for (int i = 0; i < 2; ++i) queries[random() % queries.size()] = 3e38f;  // the score overflows
        const auto attend = [&](Ops& ops) {
            ops.attention({7, "attended"}, {.layer = 0, .heads = 4, .scale = 100.0f}, batch,
                          make_tensor(ops, batch.size(), 64, queries), filled.cache(), ops.scratch(batch.size(), 64));
        };
        ReferenceOps reference;
        attend(reference);
        ASSERT_TRUE(reference.failure().has_value());
        for (Backend& backend : all_backends()) {
            backend.ops->begin_pass();
            attend(*backend.ops);
            EXPECT_TRUE(same_failure(reference.failure(), backend.ops->failure())) << backend.name();
            ++located;
        }
    }
    printf("[non-finite] %d attention results located alike\n", located);
}

}  // namespace
}  // namespace invar
