// A file that holds the weights of one model in the form they were loaded in, so that the next start maps it instead of
// repacking. It decides when such a file may be used: it must be made from this model file, for this plan, by this
// arithmetic and layout, without a changed bit. It is a SafeTensors file: one U8 tensor per weight, named as in the
// model, padded to 64 bytes; keys and hashes are in its metadata. layout/record.h defines a packed weight.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "files/safetensors.h"
#include "load/repack.h"

namespace invar {

inline constexpr int kLayoutVersion = 1;  // of layout/record.h and PackedPlaces: a change of one bit is a new version

// Identifies a model file without reading all of it: a hash of every part's header, size and modification time, of the
// first and last 4 KiB of each tensor, and of what the plan makes of it. It misses a file whose weights were changed in
// place, elsewhere, and whose time was put back.
Result<std::string> cache_key(const Checkpoint& checkpoint, const WeightPlan& plan);

// The path of a model file's cache: FOLDER/NAME-DIGITS.packed.safetensors, where the digits come from the model's path
// and the plan's forms. So a changed model finds its old cache, refuses it by its key, and overwrites it.
std::filesystem::path cache_path(const std::filesystem::path& folder, const Checkpoint& checkpoint,
                                 const WeightPlan& plan);

class WeightCache {
  public:
    // Checks everything but the weights themselves. Each error is one sentence that names the file and the reason:
    // missing, not such a file, another model, plan or version, a weight that is missing or has another size.
    static Result<WeightCache> open(const std::filesystem::path& path, const std::string& key, const WeightPlan& plan);
    // The same for bytes in memory, which must outlive the result; for tests and fuzzing.
    static Result<WeightCache> from_bytes(std::span<const std::byte> bytes, const std::string& key,
                                          const WeightPlan& plan);

    // Reads every byte and compares the hashes, on all threads: before this succeeded, no byte of the file may count.
    // Errors: a weight that differs.
    Result<void> verify(const WeightPlan& plan, ThreadPool& pool, const LoadProgress& progress) const;

    // The padded bytes, 64-byte aligned, of a planned weight that has bytes of its own.
    const std::byte* find(const PlanEntry& entry) const;
    const std::string& name() const { return file_.name(); }
    const MappedFile* mapping() const { return file_.mapping(); }

  private:
    explicit WeightCache(SafeTensorsFile file) : file_(std::move(file)) {}
    Result<void> check(const std::string& key, const WeightPlan& plan);

    SafeTensorsFile file_;
};

// Writes loaded weights, whole or not at all. Fails on errors of the folder or the disk.
Result<void> write_weight_cache(const std::filesystem::path& path, const std::string& key, const WeightPlan& plan,
                                const WeightRegistry& weights, ThreadPool& pool);

// A user's request with --weight-cache.
struct CacheRequest {
    std::filesystem::path folder;                         // "": no cache
    std::function<void(const std::string& note)> notice;  // one sentence: used, written, or why not
};

struct CachedWeights {
    std::unique_ptr<WeightCache> cache;  // owns the bytes of `weights` if it is used; null otherwise
    WeightRegistry weights;
};

// Loads the weights of the plan. A good cache file is used, and the plan then says so. Otherwise they are read from the
// model file and the cache file is written, over a stale or damaged one. A cache that cannot be used or written is a
// notice and no error.
Result<CachedWeights> load_with_cache(WeightPlan& plan, const Checkpoint& checkpoint, const CacheRequest& request,
                                      ThreadPool& pool, const LoadProgress& progress,
                                      Accelerator* accelerator = nullptr);
// The same for a plan alone, from the headers: the plan says whether a cache file would be used.
void plan_with_cache(WeightPlan& plan, const Checkpoint& checkpoint, const std::filesystem::path& folder);

}  // namespace invar
