// Writes a SafeTensors file that may be larger than memory: the tensors are declared first, then their bytes are
// appended in that order, in pieces of any size. The file appears whole at finish() or not at all (base/atomic_file.h).
// safetensors_writer.h writes a file from tensors in memory.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/result.h"
#include "files/safetensors.h"

namespace invar {

struct SafeTensorsDeclaration {
    std::string name;
    Dtype dtype = Dtype::unknown;
    std::vector<int64_t> shape;

    uint64_t bytes() const;
};

// Returns the length, the JSON and the padding: everything before the data. The tensors' bytes follow in the order
// given. Errors: a name that stands twice; more bytes than the format allows.
Result<std::string> safetensors_header(const std::map<std::string, std::string>& metadata,
                                       std::span<const SafeTensorsDeclaration> tensors);

class SafeTensorsStream {
  public:
    static Result<SafeTensorsStream> create(const std::filesystem::path& target,
                                            const std::map<std::string, std::string>& metadata,
                                            std::span<const SafeTensorsDeclaration> tensors);

    Result<void> append(std::span<const std::byte> bytes) { return file_.write(bytes); }
    // All declared bytes must have been appended.
    Result<void> finish();

  private:
    SafeTensorsStream(AtomicFile file, uint64_t file_bytes) : file_(std::move(file)), file_bytes_(file_bytes) {}

    AtomicFile file_;
    uint64_t file_bytes_;  // of the finished file
};

}  // namespace invar
