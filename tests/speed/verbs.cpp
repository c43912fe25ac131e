// What verbs cost on this machine: printed, never asserted (a loaded machine must not fail a test). Attention of one
// token over 16384 positions is compared with the bytes it reads, silu with its elements.
#include <gtest/gtest.h>

#include <time.h>

#include <algorithm>

#include "cpu/verb_case.h"

namespace invar {
namespace {

// Seconds of the calling thread on a CPU: what a loaded machine takes away does not count.
double thread_seconds() {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

template <class Work>
double best_seconds(int rounds, Work work) {
    double best = 1e9;
    for (int round = 0; round < rounds; ++round) {
        const double start = thread_seconds();
        work();
        best = std::min(best, thread_seconds() - start);
    }
    return best;
}

// Bytes a second that plain loads get from the same memory.
double read_rate(ThreadPool& pool, const std::byte* memory, int64_t bytes) {
    std::vector<uint64_t> sums(static_cast<size_t>(pool.threads()) * 8);
    const double seconds = best_seconds(5, [&] {
        pool.parallel_for(bytes / 64, 1, [&](int64_t first, int64_t last, int worker) {
            uint64_t sum[8] = {};
            for (int64_t line = first; line < last; ++line) {
                uint64_t words[8];
                std::memcpy(words, memory + line * 64, 64);
                for (int i = 0; i < 8; ++i) sum[i] += words[i];
            }
            for (const uint64_t s : sum) sums[static_cast<size_t>(worker) * 8] += s;
        });
    });
    return static_cast<double>(bytes) / seconds;
}

TEST(VerbSpeed, AttentionOfOneTokenAgainstTheBytesItReads) {
    std::mt19937 random(71);
    const int64_t positions = 16384, layers = 4;
    const KvGeometry geometry{.kv_heads = 8, .key_width = 128, .value_width = 128};
    const auto cache = make_cache(std::vector<KvGeometry>(layers, geometry), CacheType::f16, positions / 64);
    const int32_t sequence = cache->add_sequence();
    ASSERT_TRUE(cache->reserve(sequence, positions).has_value());
    std::byte* memory = cache->keys(0, 0, 0);
    auto* halves = reinterpret_cast<uint16_t*>(memory);
    for (int64_t i = 0; i < cache->bytes() / 2; ++i) halves[i] = static_cast<uint16_t>(0x3000 + i % 2048);
    const auto queries = make_inputs(random, 32 * 128);
    for (Backend& backend : all_backends()) {
        if (backend.isa == Isa::scalar || backend.pool->threads() > 1) continue;
        CpuOps& ops = *backend.ops;
        const double read = read_rate(*backend.pool, memory, cache->bytes());
        const double seconds = best_seconds(5, [&] {
            ops.begin_pass();
            const Tensor query = make_tensor(ops, 1, 32 * 128, queries), out = ops.scratch(1, 32 * 128);
            for (int layer = 0; layer < layers; ++layer) {
                ops.attention({layer, "attention"}, {.layer = layer, .heads = 32, .scale = 0.088f},
                              rows_of(sequence, positions - 1, 1), query, *cache, out);
            }
        });
        const double rate = static_cast<double>(cache->bytes()) / seconds;
        printf(
            "[speed] %s: attention of 32 heads over 16384 positions (8 KV heads of 128, f16): %.2f ms a layer, %.1f "
            "GB/s; plain reads %.1f GB/s\n",
            backend.name().c_str(), seconds / layers * 1e3, rate / 1e9, read / 1e9);
    }
}

// Latent attention of DeepSeek-V3's widths does 242 products for each byte that it reads, so products bound it.
TEST(VerbSpeed, LatentAttentionOfOneTokenAgainstItsProductsAndBytes) {
    std::mt19937 random(75);
    const int64_t positions = 4096, layers = 4;
    const int heads = 128, key_width = 576, value_width = 512;
    const KvGeometry geometry{
        .kv_heads = 1, .key_width = key_width, .value_width = value_width, .values_in_keys = true};
    const auto cache = make_cache(std::vector<KvGeometry>(layers, geometry), CacheType::f16, positions / 64);
    const int32_t sequence = cache->add_sequence();
    ASSERT_TRUE(cache->reserve(sequence, positions).has_value());
    std::byte* memory = cache->keys(0, 0, 0);
    auto* halves = reinterpret_cast<uint16_t*>(memory);
    for (int64_t i = 0; i < cache->bytes() / 2; ++i) halves[i] = static_cast<uint16_t>(0x3000 + i % 2048);
    const auto queries = make_inputs(random, heads * key_width);
    for (Backend& backend : all_backends()) {
        if (backend.isa == Isa::scalar || backend.pool->threads() > 1) continue;
        CpuOps& ops = *backend.ops;
        const double read = read_rate(*backend.pool, memory, cache->bytes());
        const double seconds = best_seconds(3, [&] {
            ops.begin_pass();
            const Tensor query = make_tensor(ops, 1, heads * key_width, queries);
            const Tensor out = ops.scratch(1, heads * value_width);
            for (int layer = 0; layer < layers; ++layer) {
                ops.attention({layer, "attention"}, {.layer = layer, .heads = heads, .scale = 0.072f},
                              rows_of(sequence, positions - 1, 1), query, *cache, out);
            }
        });
        const double products = static_cast<double>(positions * layers) * heads * (key_width + value_width);
        printf(
            "[speed] %s: latent attention of 128 heads over 4096 positions (key 576, value 512, f16): %.2f ms a layer, "
            "%.1f GMAC/s, %.2f GB/s; plain reads %.1f GB/s\n",
            backend.name().c_str(), seconds / layers * 1e3, products / seconds / 1e9,
            static_cast<double>(cache->bytes()) / seconds / 1e9, read / 1e9);
    }
}

TEST(VerbSpeed, AttentionOfAPrompt) {
    std::mt19937 random(72);
    const int64_t rows = 512;
    const auto cache = make_cache({{.kv_heads = 8, .key_width = 128, .value_width = 128}}, CacheType::f16, rows / 64);
    const int32_t sequence = cache->add_sequence();
    ASSERT_TRUE(cache->reserve(sequence, rows).has_value());
    const auto x = make_inputs(random, rows * 4096);
    for (Backend& backend : all_backends()) {
        if (backend.isa == Isa::scalar || backend.pool->threads() > 1) continue;
        CpuOps& ops = *backend.ops;
        ops.begin_pass();
        const Tensor query = make_tensor(ops, rows, 4096, x), out = ops.scratch(rows, 4096);
        const double store = best_seconds(3, [&] {
            ops.store_kv({0, "stored"}, 0, rows_of(sequence, 0, rows), query.columns(0, 1024),
                         query.columns(1024, 1024), *cache);
        });
        const double seconds = best_seconds(3, [&] {
            ops.attention({0, "attention"}, {.layer = 0, .heads = 32, .scale = 0.088f}, rows_of(sequence, 0, rows),
                          query, *cache, out);
        });
        const double multiplied = 32.0 * 128 * 2 * (rows * (rows + 1) / 2);
        printf(
            "[speed] %s: attention of a prompt of 512 (32 heads of 128): %.2f ms, %.1f GMAC/s; storing its keys and "
            "values: %.2f ms\n",
            backend.name().c_str(), seconds * 1e3, multiplied / seconds / 1e9, store * 1e3);
    }
}

TEST(VerbSpeed, RowVerbs) {
    std::mt19937 random(73);
    const int64_t rows = 64, width = 4096;
    const auto x = make_inputs(random, rows * width), weight = make_inputs(random, width);
    for (Backend& backend : all_backends()) {
        if (backend.pool->threads() > 1) continue;
        CpuOps& ops = *backend.ops;
        ops.begin_pass();
        const Tensor a = make_tensor(ops, rows, width, x), b = make_tensor(ops, rows, width, x),
                     out = ops.scratch(rows, width);
        const double elements = static_cast<double>(rows * width);
        const double silu = best_seconds(5, [&] { ops.activate({0, "activation"}, {}, a, b, out); });
        const double norm = best_seconds(5, [&] {
            ops.rms_norm({0, "norm"}, a, {.id = {}, .data = weight.data(), .size = width}, 1e-6f, out);
        });
        const double add = best_seconds(5, [&] { ops.add({0, "sum"}, out, b); });
        const RowKernels& kernels = choose_row_kernels(backend.isa);
        std::vector<float> probabilities(static_cast<size_t>(width));
        const double softmax = best_seconds(20, [&] { kernels.softmax(x.data(), width, probabilities.data()); });
        printf("[speed] %s: silu_multiply %.2f, rms_norm %.2f, add %.2f, softmax %.2f billion elements a second\n",
               backend.name().c_str(), elements / silu / 1e9, elements / norm / 1e9, elements / add / 1e9,
               static_cast<double>(width) / softmax / 1e9);
    }
}

TEST(VerbSpeed, FloatProducts) {
    std::mt19937 random(74);
    const int64_t rows = 1024, columns = 2048;
    for (const FormatId id : {FormatId::f32, FormatId::bf16}) {
        const OwnedMatrix weight = make_matrix(random, id, StoredForm::rows4, rows, columns);
        for (Backend& backend : all_backends()) {
            if (backend.isa == Isa::scalar || backend.pool->threads() > 1) continue;
            for (const int64_t tokens : {1, 64}) {
                CpuOps& ops = *backend.ops;
                ops.begin_pass();
                const Tensor x = make_tensor(ops, tokens, columns, make_inputs(random, tokens * columns)),
                             out = ops.scratch(tokens, rows);
                const double seconds = best_seconds(5, [&] { ops.linear({0, "product"}, weight.view, x, out); });
                printf("[speed] %s: %s product of 1024 x 2048 for %lld tokens: %.1f GMAC/s, weights at %.1f GB/s\n",
                       backend.name().c_str(), std::string(weight.view.format->name).c_str(),
                       static_cast<long long>(tokens), static_cast<double>(rows * columns * tokens) / seconds / 1e9,
                       static_cast<double>(weight.view.bytes) / seconds / 1e9);
            }
        }
    }
}

}  // namespace
}  // namespace invar
