// Fuzzes caches of packed weights. Bytes are refused with one sentence, or every weight that is found lies within them
// and a verified cache has the hashes that it states. The plan is that of a small model made here.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "checkpoint/stored_bytes.h"
#include "files/gguf_writer.h"
#include "load/weight_cache.h"
#include "require.h"

namespace {

using namespace invar;

WeightPlan small_plan() {
    WeightPlan plan;
    for (const auto& [layer, rows] : {std::pair{0, int64_t{8}}, {1, int64_t{4}}}) {
        PlanEntry entry{.id = {layer, "query"}, .tensor = layer == 0 ? "a" : "b"};
        entry.shape = {rows, 32};
        entry.source = &format(FormatId::q8_0);
        entry.form = StoredForm::rows4;
        entry.bytes = stored_bytes(*entry.source, entry.form, entry.shape);
        plan.entries.push_back(entry);
    }
    return plan;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const WeightPlan plan = small_plan();
    if (size == 0) return 0;
    const AlignedBytes aligned = AlignedBytes::allocate(static_cast<int64_t>(size)).value();  // like a mapped file
    std::memcpy(aligned.data(), data, size);
    const std::span<const std::byte> bytes(aligned.data(), size);
    const auto cache = WeightCache::from_bytes(bytes, "xxh3:0", plan);
    if (!cache) {
        const std::string& message = cache.error().message;
        require(message.starts_with("cache: ") && message.find('\n') == std::string::npos && message.size() < 3000);
        return 0;
    }
    for (const PlanEntry& entry : plan.entries) {
        const std::byte* found = cache->find(entry);
        require(found >= bytes.data() && found + padded_bytes(entry.bytes) <= bytes.data() + size);
    }
    static const auto pool = ThreadPool::create({.threads = 1}).value();
    (void)cache->verify(plan, *pool, nullptr);
    return 0;
}
