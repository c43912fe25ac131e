#include "files/checkpoint_digest.h"

#include "base/hash.h"
#include "files/model_directory.h"

namespace invar {

Result<std::string> digest_of(const Checkpoint& checkpoint) {
    if (checkpoint.directory() != nullptr) return checkpoint.directory()->digest();
    Hasher hasher;
    for (const MappedFile* part : checkpoint.mappings()) {
        hasher.add(part->bytes());
        part->drop(0, part->bytes().size());
    }
    return hasher.text();
}

}  // namespace invar
