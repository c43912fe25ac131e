// Attention with sinks, with heads of up to 512 elements, and with values that lie in their keys, on the emulated
// device against the plain reference: prompts and single tokens, windows, softcaps, whole and split over chunks.
#include <gtest/gtest.h>

#include "verb_comparison.h"

namespace invar {
namespace {

struct Shape {
    std::string name;
    int heads;
    KvGeometry layer;
    CacheType type;
    bool sinks;
    float softcap = 0;
};

// Stores a history and attends its last `rows` positions, beside a second sequence that is shorter.
void compare_attention(const Shape& shape, int64_t history, int64_t rows, int64_t chunk_bytes, std::mt19937& random,
                       Comparison& comparison) {
    const int64_t keys = int64_t{shape.layer.kv_heads} * shape.layer.key_width;
    const int64_t values = int64_t{shape.layer.kv_heads} * shape.layer.value_width;
    const int64_t width = int64_t{shape.heads} * shape.layer.key_width;
    Batch stored = rows_of(0, 0, history), asked = rows_of(0, history - rows, rows);
    for (int64_t i = 0; i < 3; ++i) stored.rows.push_back({.token = 0, .sequence = 1, .position = i});
    asked.rows.push_back({.token = 0, .sequence = 1, .position = 2});
    const std::vector<float> key = make_inputs(random, stored.size() * keys);
    const std::vector<float> value = make_inputs(random, stored.size() * values, Inputs::hard);
    const std::vector<float> query = make_inputs(random, asked.size() * width);
    std::vector<float> sinks = make_inputs(random, shape.heads);
    sinks[0] = 40.0f;  // above every score
    const WeightVector of_sinks = vector_of(sinks);
    const DeviceBackend backend = DeviceBackend::make(chunk_bytes);
    const auto host = make_cache({shape.layer}, shape.type, 8),
               device = backend.make_cache({shape.layer}, shape.type, 8);
    compare_verb(
        backend,
        [&](Ops& ops, const MakeTensor& make) {
            SequenceState& cache = &ops == backend.ops.get() ? *device : *host;
            for (const int64_t length : {history, int64_t{3}})
                CHECK(cache.reserve(cache.add_sequence(), length).has_value(), "room");
            ops.store_kv({0, "stored"}, 0, stored, make(stored.size(), keys, key), make(stored.size(), values, value),
                         cache);
            const Tensor out = ops.scratch(asked.size(), int64_t{shape.heads} * shape.layer.value_width);
            ops.attention({0, "attention"},
                          {.layer = 0, .heads = shape.heads, .scale = 0.05f, .softcap = shape.softcap}, asked,
                          make(asked.size(), width, query), cache, out, shape.sinks ? &of_sinks : nullptr);
            return out;
        },
        comparison, shape.name + ", " + std::to_string(rows) + " rows");
}

void compare_shapes(std::span<const Shape> shapes, int64_t history, const std::string& what, int64_t at_least) {
    std::mt19937 random(37);
    Comparison comparison;
    for (const Shape& shape : shapes) {
        for (const int64_t rows : {1, 9}) {
            for (const int64_t chunk_bytes : {int64_t{0}, int64_t{4} << 20})
                compare_attention(shape, history, rows, chunk_bytes, random, comparison);
        }
    }
    comparison.print(what);
    EXPECT_GT(comparison.compared(), at_least);
}

TEST(CudaAttention, WithSinksEqualsTheReference) {
    const Shape shapes[] = {
        {"eight heads share a key", 8, {.kv_heads = 1, .key_width = 64, .value_width = 64}, CacheType::f16, true},
        {"a window", 8, {.kv_heads = 2, .key_width = 64, .value_width = 64, .window = 70}, CacheType::bf16, true},
        {"a key for each head", 3, {.kv_heads = 3, .key_width = 200, .value_width = 80}, CacheType::f32, true, 30},
    };
    compare_shapes(shapes, 150, "CUDA attention with sinks", 15'000);
}

// What is asked are the last rows of a text and the whole of another: to attention that sees both ways that is where
// they end.
TEST(CudaAttention, OfEveryReachEqualsTheReference) {
    std::vector<Shape> shapes;
    for (const Reach reach : {Reach::in_blocks, Reach::both_ways}) {
        for (const int window : {0, 6, 64, 100}) {
            const KvGeometry wide{.kv_heads = 2, .key_width = 40, .value_width = 24, .reach = reach, .window = window};
            const std::string name =
                fmt::format("{}, window {}", reach == Reach::in_blocks ? "blocks" : "both ways", window);
            shapes.push_back({name, 4, wide, window == 64 ? CacheType::f32 : CacheType::f16, window == 6});
        }
        const KvGeometry latent{
            .kv_heads = 1, .key_width = 40, .value_width = 32, .reach = reach, .window = 30, .values_in_keys = true};
        shapes.push_back({"latent", 9, latent, CacheType::bf16, false});
    }
    compare_shapes(shapes, 150, "CUDA attention of every reach", 15'000);
}

TEST(CudaAttention, OfHeadsUpTo512ElementsEqualsTheReference) {
    const Shape shapes[] = {
        {"the widest", 2, {.kv_heads = 1, .key_width = 512, .value_width = 512}, CacheType::f16, false},
        {"wide keys", 4, {.kv_heads = 2, .key_width = 320, .value_width = 48}, CacheType::f32, true},
        {"wide values",
         1,
         {.kv_heads = 1, .key_width = 64, .value_width = 288, .window = 80},
         CacheType::bf16,
         false,
         20},
    };
    compare_shapes(shapes, 130, "CUDA attention of wide heads", 15'000);
}

TEST(CudaAttention, OfValuesInKeysEqualsTheReference) {
    const Shape shapes[] = {
        {"latent, real widths",
         11,
         {.kv_heads = 1, .key_width = 576, .value_width = 512, .values_in_keys = true},
         CacheType::f16,
         false},
        {"latent, small",
         20,
         {.kv_heads = 1, .key_width = 40, .value_width = 32, .values_in_keys = true},
         CacheType::f32,
         true},
        {"latent, odd",
         1,
         {.kv_heads = 1, .key_width = 311, .value_width = 300, .window = 70, .values_in_keys = true},
         CacheType::bf16,
         false,
         20},
    };
    compare_shapes(shapes, 135, "CUDA latent attention", 50'000);
}

}  // namespace
}  // namespace invar
