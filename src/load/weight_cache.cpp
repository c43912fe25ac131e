// Hashes are computed per chunk, so that threads share a large weight; a weight's hash is that of its chunks' hashes.
#include "load/weight_cache.h"

#include <sys/mman.h>

#include <algorithm>

#include "arithmetic/version.h"
#include "base/hash.h"
#include "files/printable.h"
#include "files/safetensors_writer.h"
#include "layout/rows4.h"
#include "load/work_progress.h"

namespace invar {
namespace {

constexpr std::string_view kKind = "invar.packed_weights", kKey = "invar.key", kHash = "hash ";
constexpr int64_t kChunk = int64_t{4} << 20;
constexpr int64_t kSample = 4096;

std::string versions() { return fmt::format("layout {}, arithmetic {}", kLayoutVersion, kArithmeticVersion); }

struct Weight {
    const PlanEntry* entry;
    std::span<const std::byte> bytes;  // padded
};

// Fetches the pages of a mapped file with one call per chunk instead of a fault per 64 KiB. Does nothing for other
// memory.
void fetch_pages(std::span<const std::byte> bytes) {
    constexpr int kPopulateRead = 22;  // MADV_POPULATE_READ, since Linux 5.14
    constexpr uintptr_t kPage = 4096;
    const auto begin = reinterpret_cast<uintptr_t>(bytes.data()) / kPage * kPage;
    const auto end = reinterpret_cast<uintptr_t>(bytes.data() + bytes.size());
    (void)::madvise(reinterpret_cast<void*>(begin), end - begin, kPopulateRead);
}

// The hash of each weight, as text.
std::vector<std::string> hashes_of(const std::vector<Weight>& weights, ThreadPool& pool, const LoadProgress& progress) {
    struct Chunk {
        size_t weight;
        std::span<const std::byte> bytes;
    };
    std::vector<Chunk> chunks;
    int64_t total = 0;
    for (size_t i = 0; i < weights.size(); ++i) {
        const auto bytes = weights[i].bytes;
        for (size_t at = 0; at < bytes.size(); at += kChunk) {
            chunks.push_back({i, bytes.subspan(at, std::min<size_t>(kChunk, bytes.size() - at))});
        }
        total += static_cast<int64_t>(bytes.size());
    }
    std::vector<uint64_t> hashes(chunks.size());
    WorkProgress shared_progress(progress, total);
    pool.parallel_items(std::ssize(chunks), [&](int64_t i, int) {
        const Chunk& chunk = chunks[static_cast<size_t>(i)];
        fetch_pages(chunk.bytes);
        hashes[static_cast<size_t>(i)] = short_hash_of(chunk.bytes);
        shared_progress.add(static_cast<int64_t>(chunk.bytes.size()));
    });
    shared_progress.finish();
    std::vector<std::string> texts;
    for (size_t i = 0, chunk = 0; i < weights.size(); ++i) {
        const size_t first = chunk;
        while (chunk < chunks.size() && chunks[chunk].weight == i) ++chunk;
        texts.push_back(hash_of(std::as_bytes(std::span(hashes).subspan(first, chunk - first))));
    }
    return texts;
}

std::string hash_key(const PlanEntry& entry) { return fmt::format("{}{}", kHash, entry.tensor); }

void add_text(Hasher& hasher, std::string_view text) {
    hasher.add(std::as_bytes(std::span(text)));
    hasher.add(std::as_bytes(std::span("\0", 1)));
}

void add_forms(Hasher& hasher, const WeightPlan& plan) {
    for (const PlanEntry& entry : plan.entries) {
        add_text(hasher,
                 fmt::format("{} {} {} {} {} {}", to_string(entry.id), entry.tensor, stored_form_name(entry.form),
                             entry.bytes, entry.alias_of ? to_string(*entry.alias_of) : "", entry.stored.recipe));
    }
    add_text(hasher, versions());
}

}  // namespace

Result<std::string> cache_key(const Checkpoint& checkpoint, const WeightPlan& plan) {
    Hasher hasher;
    std::vector<uint64_t> header_bytes(checkpoint.mappings().size());
    for (size_t part = 0; part < header_bytes.size(); ++part) {
        header_bytes[part] = checkpoint.mappings()[part]->bytes().size();
    }
    for (const TensorInfo& tensor : checkpoint.tensors()) {
        const auto part = static_cast<size_t>(tensor.file_index);
        if (part < header_bytes.size()) header_bytes[part] = std::min(header_bytes[part], tensor.file_offset);
        const std::span<const std::byte> bytes(tensor.data, tensor.bytes);
        const size_t sample = std::min<size_t>(kSample, bytes.size());
        hasher.add(bytes.first(sample));
        hasher.add(bytes.last(sample));
    }
    for (size_t part = 0; part < header_bytes.size(); ++part) {
        const MappedFile& mapping = *checkpoint.mappings()[part];
        hasher.add(mapping.bytes().first(header_bytes[part]));
        std::error_code error;
        const auto changed = std::filesystem::last_write_time(mapping.path(), error);
        if (error)
            return fail(ErrorKind::io, "{}: its time of last change cannot be read ({})", mapping.path().string(),
                        error.message());
        add_text(hasher, fmt::format("{} bytes, {}", mapping.bytes().size(), changed.time_since_epoch().count()));
    }
    add_forms(hasher, plan);
    return hasher.text();
}

std::filesystem::path cache_path(const std::filesystem::path& folder, const Checkpoint& checkpoint,
                                 const WeightPlan& plan) {
    const std::filesystem::path model =
        checkpoint.paths().empty() ? std::filesystem::path("model") : checkpoint.paths()[0];
    std::error_code error;
    const std::filesystem::path whole = std::filesystem::weakly_canonical(model, error);
    Hasher hasher;
    add_text(hasher, error ? model.string() : whole.string());
    add_forms(hasher, plan);
    const std::string hash = hasher.text();
    return folder / fmt::format("{}-{}.packed.safetensors", model.stem().string(), hash.substr(hash.find(':') + 1, 16));
}

Result<WeightCache> WeightCache::open(const std::filesystem::path& path, const std::string& key,
                                      const WeightPlan& plan) {
    TRY_ASSIGN(SafeTensorsFile file, SafeTensorsFile::open(path));
    WeightCache cache(std::move(file));
    TRY(cache.check(key, plan));
    return cache;
}

Result<WeightCache> WeightCache::from_bytes(std::span<const std::byte> bytes, const std::string& key,
                                            const WeightPlan& plan) {
    TRY_ASSIGN(SafeTensorsFile file, SafeTensorsFile::from_bytes(bytes, "cache"));
    WeightCache cache(std::move(file));
    TRY(cache.check(key, plan));
    return cache;
}

Result<void> WeightCache::check(const std::string& key, const WeightPlan& plan) {
    const auto kind = file_.find_metadata(kKind), stated = file_.find_metadata(kKey);
    if (!kind || !stated) return fail("{}: is no file of packed weights", name());
    if (*kind != versions()) {
        return fail("{}: was written for {}, this program has {}", name(), printable(*kind), versions());
    }
    if (*stated != key) return fail("{}: was written for another model file or other settings", name());
    size_t wanted = 0;
    for (const PlanEntry& entry : plan.entries) {
        if (!entry.has_own_bytes()) continue;
        const SafeTensor* tensor = file_.find(entry.tensor);
        if (tensor == nullptr) return fail("{}: weight '{}' is missing", name(), entry.tensor);
        if (tensor->dtype != Dtype::u8 || static_cast<int64_t>(tensor->bytes) != padded_bytes(entry.bytes)) {
            return fail("{}: weight '{}' has {} bytes, but {} are planned", name(), entry.tensor, tensor->bytes,
                        padded_bytes(entry.bytes));
        }
        if (reinterpret_cast<uintptr_t>(tensor->data) % kPackedAlignment != 0) {
            return fail("{}: weight '{}' does not lie on a multiple of {} bytes", name(), entry.tensor,
                        kPackedAlignment);
        }
        if (!file_.find_metadata(hash_key(entry))) return fail("{}: weight '{}' has no hash", name(), entry.tensor);
        ++wanted;
    }
    if (wanted != file_.tensors().size()) {
        return fail("{}: has {} weights, but {} are planned", name(), file_.tensors().size(), wanted);
    }
    return {};
}

const std::byte* WeightCache::find(const PlanEntry& entry) const {
    const SafeTensor* tensor = file_.find(entry.tensor);
    return tensor != nullptr && entry.has_own_bytes() ? tensor->data : nullptr;
}

Result<void> WeightCache::verify(const WeightPlan& plan, ThreadPool& pool, const LoadProgress& progress) const {
    std::vector<Weight> weights;
    for (const PlanEntry& entry : plan.entries) {
        if (!entry.has_own_bytes()) continue;
        weights.push_back({&entry, {find(entry), static_cast<size_t>(padded_bytes(entry.bytes))}});
    }
    const std::vector<std::string> hashes = hashes_of(weights, pool, progress);
    for (size_t i = 0; i < weights.size(); ++i) {
        const auto stated = file_.find_metadata(hash_key(*weights[i].entry));
        if (stated && *stated == hashes[i]) continue;
        return fail("{}: weight '{}' is damaged: its hash is {}, but {} was written", name(), weights[i].entry->tensor,
                    hashes[i], printable(stated.value_or("nothing")));
    }
    return {};
}

Result<void> write_weight_cache(const std::filesystem::path& path, const std::string& key, const WeightPlan& plan,
                                const WeightRegistry& loaded, ThreadPool& pool) {
    SafeTensorsWriter writer;
    writer.add_metadata(kKind, versions());
    writer.add_metadata(kKey, key);
    std::vector<Weight> weights;
    for (const PlanEntry& entry : plan.entries) {
        if (!entry.has_own_bytes()) continue;
        const int64_t bytes = padded_bytes(entry.bytes);
        weights.push_back({&entry, {loaded.find(entry.id)->data, static_cast<size_t>(bytes)}});
        TRY(writer.add_tensor(entry.tensor, Dtype::u8, std::span(&bytes, 1), weights.back().bytes));
    }
    const std::vector<std::string> hashes = hashes_of(weights, pool, nullptr);
    for (size_t i = 0; i < weights.size(); ++i) writer.add_metadata(hash_key(*weights[i].entry), hashes[i]);
    return writer.write(path);
}

namespace {

void say_in_plan(WeightPlan& plan, const std::string& cache_file) {
    plan.cache_file = cache_file;
    for (PlanEntry& entry : plan.entries) {
        if (entry.has_own_bytes()) entry.reason += fmt::format(", from cache {}", cache_file);
    }
}

}  // namespace

void plan_with_cache(WeightPlan& plan, const Checkpoint& checkpoint, const std::filesystem::path& folder) {
    if (folder.empty() || packed_places(plan).bytes == 0) return;
    const auto key = cache_key(checkpoint, plan);
    if (!key) return;
    const std::filesystem::path path = cache_path(folder, checkpoint, plan);
    if (WeightCache::open(path, *key, plan)) say_in_plan(plan, path.string());
}

Result<CachedWeights> load_with_cache(WeightPlan& plan, const Checkpoint& checkpoint, const CacheRequest& request,
                                      ThreadPool& pool, const LoadProgress& progress, Accelerator* accelerator) {
    CachedWeights result;
    if (request.folder.empty() || packed_places(plan).bytes == 0) {
        TRY_ASSIGN(result.weights, load_weights(plan, checkpoint, pool, progress, accelerator));
        return result;
    }
    const auto say = [&](const std::string& note) {
        if (request.notice) request.notice(note);
    };
    TRY_ASSIGN(const std::string key, cache_key(checkpoint, plan));
    const std::filesystem::path path = cache_path(request.folder, checkpoint, plan);
    std::error_code error;
    if (std::filesystem::exists(path, error)) {
        Result<WeightCache> cache = WeightCache::open(path, key, plan);
        const Result<void> verified = cache ? cache->verify(plan, pool, progress) : pass_on(std::move(cache));
        if (verified) {
            result.cache = std::make_unique<WeightCache>(std::move(*cache));
            say_in_plan(plan, path.string());
            const auto bytes_of = [&](const PlanEntry& entry) { return result.cache->find(entry); };
            TRY_ASSIGN(result.weights, load_mapped(plan, checkpoint, bytes_of, pool, progress, accelerator));
            return result;
        }
        say(fmt::format("{}; the cache is not used and written anew", verified.error().message));
    }
    TRY_ASSIGN(result.weights, load_weights(plan, checkpoint, pool, progress, accelerator));
    const Result<void> written = write_weight_cache(path, key, plan, result.weights, pool);
    say(written ? fmt::format("{}: the repacked weights are kept here for the next start", path.string())
                : fmt::format("the repacked weights are not kept: {}", written.error().message));
    return result;
}

}  // namespace invar
