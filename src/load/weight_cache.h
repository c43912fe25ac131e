// A file that holds the weights of one model in the form they were loaded in, so that the next start maps it instead of
// repacking. It decides when such a file may be used: made from this model file, for this plan, by this arithmetic and
// layout, and not one bit changed since. It is a SafeTensors file: one U8 tensor a weight, named as in the model,
// padded to 64 bytes; keys and hashes in its metadata. What a packed weight looks like: layout/record.h.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "files/safetensors.h"
#include "load/repack.h"

namespace invar {

inline constexpr int kLayoutVersion = 1;  // of layout/record.h and PackedPlaces: a change of one bit is a new version

// Tells model files apart, without reading all of one: hash of every part's header, size and time of last change, of
// the first and last 4 KiB of each tensor, and of what the plan makes of it. A file whose weights were changed in
// place, elsewhere, with its time put back, is not told apart.
Result<std::string> cache_key(const Checkpoint& checkpoint, const WeightPlan& plan);

// Where the cache of a model file is looked for: FOLDER/NAME-DIGITS.packed.safetensors, the digits from the model's
// path and the plan's forms. So a model that changed finds its old cache, refuses it by its key, and overwrites it.
std::filesystem::path cache_path(const std::filesystem::path& folder, const Checkpoint& checkpoint,
                                 const WeightPlan& plan);

class WeightCache {
  public:
    // Checks everything but the weights themselves. Errors, each one sentence that names the file and why it is not
    // used: not there, not such a file, another model, plan or version, a weight that is missing or of another size.
    static Result<WeightCache> open(const std::filesystem::path& path, const std::string& key, const WeightPlan& plan);
    // The same of bytes in memory, which must outlive the result; for tests and fuzzing.
    static Result<WeightCache> from_bytes(std::span<const std::byte> bytes, const std::string& key,
                                          const WeightPlan& plan);

    // Reads every byte and compares the hashes, on all threads: before this succeeded, no byte of the file may count.
    // Errors: a weight that differs.
    Result<void> verify(const WeightPlan& plan, ThreadPool& pool, const LoadProgress& progress) const;

    // The padded bytes of a planned weight with bytes of its own, 64-byte aligned.
    const std::byte* find(const PlanEntry& entry) const;
    const std::string& name() const { return file_.name(); }
    const MappedFile* mapping() const { return file_.mapping(); }

  private:
    explicit WeightCache(SafeTensorsFile file) : file_(std::move(file)) {}
    Result<void> check(const std::string& key, const WeightPlan& plan);

    SafeTensorsFile file_;
};

// Writes loaded weights, whole or not at all. Errors: the folder or the disk.
Result<void> write_weight_cache(const std::filesystem::path& path, const std::string& key, const WeightPlan& plan,
                                const WeightRegistry& weights, ThreadPool& pool);

// What a user asked for with --weight-cache.
struct CacheRequest {
    std::filesystem::path folder;                         // "": no cache
    std::function<void(const std::string& note)> notice;  // one sentence: used, written, or why not
};

struct CachedWeights {
    std::unique_ptr<WeightCache> cache;  // owns the bytes of `weights` where it is used; null otherwise
    WeightRegistry weights;
};

// Loads the weights of the plan: from the cache file where there is a good one, which the plan then says, and else from
// the model file; then the cache file is written, over a stale or damaged one. A cache that cannot be used or written
// is a notice and no error.
Result<CachedWeights> load_with_cache(WeightPlan& plan, const Checkpoint& checkpoint, const CacheRequest& request,
                                      ThreadPool& pool, const LoadProgress& progress,
                                      Accelerator* accelerator = nullptr);
// The same for a plan alone, from the headers: says in the plan whether a cache file would be used.
void plan_with_cache(WeightPlan& plan, const Checkpoint& checkpoint, const std::filesystem::path& folder);

}  // namespace invar
