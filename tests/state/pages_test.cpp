// The KV cache's layout and page accounting: pages are never lost, shared or invented, places never overlap, and sizes
// that cannot exist are refused.
#include "state/sequence_state.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <vector>

namespace invar {
namespace {

std::vector<KvGeometry> mixed_layers() {
    return {{.kv_heads = 2, .key_width = 64, .value_width = 64, .window = 0},
            {.kv_heads = 1, .key_width = 80, .value_width = 96, .window = 128},
            {.kv_heads = 4, .key_width = 128, .value_width = 128, .window = 0}};
}

// Of one unit of every group.
int64_t page_bytes(std::vector<KvGeometry> layers, CacheType type) {
    const auto layout = lay_out_state({.layers = std::move(layers), .recurrences = {}, .type = type, .places = {}});
    int64_t bytes = 0;
    for (const StateGroup& group : layout->groups)
        if (__builtin_add_overflow(bytes, group.bytes(), &bytes)) return std::numeric_limits<int64_t>::max();
    return bytes;
}

std::unique_ptr<SequenceState> make_cache(CacheType type, int64_t pages) {
    auto cache = SequenceState::create(mixed_layers(), type, pages);
    EXPECT_TRUE(cache.has_value()) << cache.error().message;
    return std::move(*cache);
}

TEST(Pages, PageBytesAreTheSumOverHeadsOfKeysAndValues) {
    // 64 positions * (2*(64+64) + 1*(80+96) + 4*(128+128)) = 64 * 1456 elements
    EXPECT_EQ(page_bytes(mixed_layers(), CacheType::f16), 64 * 1456 * 2);
    EXPECT_EQ(page_bytes(mixed_layers(), CacheType::bf16), 64 * 1456 * 2);
    EXPECT_EQ(page_bytes(mixed_layers(), CacheType::f32), 64 * 1456 * 4);
    EXPECT_EQ(pages_for(0), 0);
    EXPECT_EQ(pages_for(1), 1);
    EXPECT_EQ(pages_for(64), 1);
    EXPECT_EQ(pages_for(65), 2);
}

TEST(Pages, PlacesOfPagesLayersAndHeadsAreDisjointAlignedAndFillTheMemory) {
    for (const CacheType type : {CacheType::f16, CacheType::f32}) {
        const auto cache = make_cache(type, 3);
        std::map<std::byte*, int64_t> places;  // start -> bytes
        for (int layer = 0; layer < 3; ++layer) {
            const KvGeometry& geometry = cache->layers()[static_cast<size_t>(layer)];
            for (int32_t page = 0; page < 3; ++page) {
                for (int head = 0; head < geometry.kv_heads; ++head) {
                    const int64_t element = cache_type_bytes(type);
                    places[cache->keys(layer, page, head)] = geometry.key_width * 64 * element;
                    places[cache->values(layer, page, head)] = geometry.value_width * 64 * element;
                }
            }
        }
        ASSERT_EQ(places.size(), 3u * 7 * 2);
        std::byte* end = places.begin()->first;
        for (const auto& [start, bytes] : places) {
            EXPECT_EQ(reinterpret_cast<uintptr_t>(start) % 64, 0u);
            EXPECT_EQ(start, end);
            end = start + bytes;
        }
        EXPECT_EQ(end - places.begin()->first, cache->bytes());
        std::fill(places.begin()->first, end, std::byte{0xA5});  // all of it may be written
    }
}

TEST(Pages, RefusesSizesThatOverflowOrThatNoMachineHas) {
    const std::vector<KvGeometry> huge(64, {.kv_heads = 1 << 30, .key_width = 1 << 30, .value_width = 1 << 30});
    EXPECT_EQ(page_bytes(huge, CacheType::f32), std::numeric_limits<int64_t>::max());
    const auto overflow = SequenceState::create(huge, CacheType::f32, 4);
    ASSERT_FALSE(overflow.has_value());
    EXPECT_NE(overflow.error().message.find("no memory for a KV cache of 256 positions"), std::string::npos);

    const auto too_large = SequenceState::create(mixed_layers(), CacheType::f32, std::numeric_limits<int32_t>::max());
    ASSERT_FALSE(too_large.has_value()) << "800 TB were granted";
    EXPECT_NE(too_large.error().message.find("in f32"), std::string::npos);

    EXPECT_FALSE(SequenceState::create(mixed_layers(), CacheType::f16, -1).has_value());
    EXPECT_FALSE(SequenceState::create(mixed_layers(), CacheType::f16, int64_t{1} << 31).has_value());
    EXPECT_FALSE(
        SequenceState::create({{.kv_heads = 1, .key_width = -64, .value_width = 64}}, CacheType::f16, 1).has_value());
}

TEST(Pages, ReserveThatFailsChangesNothing) {
    const auto cache = make_cache(CacheType::f16, 4);
    const int32_t first = cache->add_sequence();
    const int32_t second = cache->add_sequence();
    ASSERT_TRUE(cache->reserve(first, 3 * 64).has_value());
    const std::vector<int32_t> before(cache->pages_of(first, 0).begin(), cache->pages_of(first, 0).end());
    EXPECT_EQ(before, (std::vector<int32_t>{0, 1, 2}));

    const auto refused = cache->reserve(second, 65);
    ASSERT_FALSE(refused.has_value());
    EXPECT_NE(refused.error().message.find("2 more pages"), std::string::npos);
    EXPECT_NE(refused.error().message.find("1 of 4 are free"), std::string::npos);
    EXPECT_EQ(cache->available(), 1);
    EXPECT_TRUE(cache->pages_of(second, 0).empty());
    EXPECT_FALSE(cache->reserve(second, std::numeric_limits<int64_t>::max()).has_value());

    ASSERT_TRUE(cache->reserve(first, 10).has_value());  // less than it has: keeps its pages
    EXPECT_TRUE(std::ranges::equal(cache->pages_of(first, 0), before));
    ASSERT_TRUE(cache->reserve(second, 64).has_value());
    EXPECT_EQ(cache->available(), 0);
}

TEST(Pages, GoingBackKeepsThePagesOfTheRemainingPositions) {
    const auto cache = make_cache(CacheType::f16, 8);
    const int32_t sequence = cache->add_sequence();
    ASSERT_TRUE(cache->reserve(sequence, 300).has_value());
    EXPECT_EQ(cache->pages_of(sequence, 0).size(), 5u);
    cache->advance(sequence, int64_t{300});
    EXPECT_EQ(cache->rewind(sequence, 129), 129);
    EXPECT_TRUE(std::ranges::equal(cache->pages_of(sequence, 0), std::vector<int32_t>{0, 1, 2}));
    cache->rewind(sequence, 128);
    EXPECT_EQ(cache->pages_of(sequence, 0).size(), 2u);
    EXPECT_EQ(cache->rewind(sequence, 1000), 128);
    EXPECT_EQ(cache->pages_of(sequence, 0).size(), 2u);
    cache->rewind(sequence, 0);
    EXPECT_EQ(cache->available(), 8);
}

TEST(Pages, WithoutMemoryKnowsItsGeometryAndHoldsNoPages) {
    const auto cache = SequenceState::without_memory(
        {.layers = mixed_layers(), .recurrences = {}, .type = CacheType::bf16, .places = {}});
    EXPECT_EQ(cache->bytes(), 0);
    EXPECT_EQ(cache->units(), 0);
    EXPECT_EQ(cache->layers().size(), 3u);
    const int32_t sequence = cache->add_sequence();
    EXPECT_TRUE(cache->reserve(sequence, 0).has_value());
    EXPECT_FALSE(cache->reserve(sequence, 1).has_value());
}

// Many random adds, growths, cuts and removals against a model: the set of pages each sequence owns.
TEST(Pages, RandomUseNeverLosesSharesOrInventsAPage) {
    std::mt19937 random(20);
    int64_t steps = 0, refusals = 0;
    for (int round = 0; round < 40; ++round) {
        const int64_t pages = std::uniform_int_distribution<int64_t>(1, 60)(random);
        auto created =
            SequenceState::create({{.kv_heads = 1, .key_width = 1, .value_width = 1}}, CacheType::f16, pages);
        ASSERT_TRUE(created.has_value());
        SequenceState& cache = **created;
        std::map<int32_t, std::vector<int32_t>> owned;
        for (int step = 0; step < 2000; ++step, ++steps) {
            const int action = std::uniform_int_distribution<int>(0, 9)(random);
            auto some = owned.begin();
            if (!owned.empty()) {
                std::advance(some,
                             std::uniform_int_distribution<int64_t>(0, static_cast<int64_t>(owned.size()) - 1)(random));
            }
            if (action < 2 || owned.empty()) {
                const int32_t added = cache.add_sequence();
                ASSERT_FALSE(owned.contains(added)) << "a slot in use was given out again";
                ASSERT_TRUE(cache.pages_of(added, 0).empty());
                owned[added] = {};
            } else if (action < 3) {
                cache.remove_sequence(some->first);
                owned.erase(some);
            } else if (action < 8) {
                const int64_t count = std::uniform_int_distribution<int64_t>(0, 64 * 12)(random);
                const int64_t had = static_cast<int64_t>(some->second.size());
                const int64_t wanted = std::max(had, pages_for(count));
                const bool fits = wanted - had <= cache.available();
                ASSERT_EQ(cache.reserve(some->first, count).has_value(), fits);
                refusals += fits ? 0 : 1;
                if (fits && count > cache.length(some->first))
                    cache.advance(some->first, count - cache.length(some->first));
                const auto now = cache.pages_of(some->first, 0);
                ASSERT_EQ(static_cast<int64_t>(now.size()), fits ? wanted : had);
                ASSERT_TRUE(std::equal(some->second.begin(), some->second.end(), now.begin())) << "a held page moved";
                some->second.assign(now.begin(), now.end());
            } else {
                const int64_t count = std::uniform_int_distribution<int64_t>(0, 64 * 12)(random);
                cache.rewind(some->first, count);
                some->second.resize(std::min(some->second.size(), static_cast<size_t>(pages_for(count))));
            }
            std::set<int32_t> distinct;
            int64_t held = 0;
            for (const auto& [sequence, expected] : owned) {
                ASSERT_TRUE(std::ranges::equal(cache.pages_of(sequence, 0), expected));
                distinct.insert(expected.begin(), expected.end());
                held += static_cast<int64_t>(expected.size());
            }
            ASSERT_EQ(static_cast<int64_t>(distinct.size()), held) << "two sequences share a page";
            ASSERT_EQ(held + cache.available(), pages);
            if (!distinct.empty()) {
                ASSERT_GE(*distinct.begin(), 0);
                ASSERT_LT(*distinct.rbegin(), pages);
            }
        }
    }
    printf("[pages] %lld random steps over 40 caches, %lld refusals, no page lost, shared or invented\n",
           static_cast<long long>(steps), static_cast<long long>(refusals));
    EXPECT_GT(refusals, 1000);
}

}  // namespace
}  // namespace invar
