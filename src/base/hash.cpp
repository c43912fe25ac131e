#include "base/hash.h"

#include <xxhash.h>

#include "base/check.h"
#include "base/mapped_file.h"

namespace invar {

struct Hasher::State {
    struct Free {
        void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
    };
    std::unique_ptr<XXH3_state_t, Free> xxh3{XXH3_createState()};
};

Hasher::Hasher() : state_(std::make_unique<State>()) {
    CHECK(state_->xxh3 != nullptr, "there is memory for a hash");
    XXH3_128bits_reset(state_->xxh3.get());
}

Hasher::~Hasher() = default;

void Hasher::add(std::span<const std::byte> bytes) {
    if (!bytes.empty()) XXH3_128bits_update(state_->xxh3.get(), bytes.data(), bytes.size());
}

std::string Hasher::text() const {
    const XXH128_hash_t hash = XXH3_128bits_digest(state_->xxh3.get());
    return fmt::format("xxh3:{:016x}{:016x}", hash.high64, hash.low64);
}

std::string hash_of(std::span<const std::byte> bytes) {
    Hasher hasher;
    hasher.add(bytes);
    return hasher.text();
}

uint64_t short_hash_of(std::span<const std::byte> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

Result<FileHash> hash_of_file(const std::filesystem::path& path) {
    TRY_ASSIGN(const MappedFile file, MappedFile::open(path));
    return FileHash{.text = hash_of(file.bytes()), .bytes = static_cast<int64_t>(file.bytes().size())};
}

}  // namespace invar
