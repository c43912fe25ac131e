// Writes a SafeTensors file from tensors in memory. The file appears whole or not at all (base/atomic_file.h). The data
// starts at a multiple of 64 bytes and wider elements go before narrower ones, so that every tensor is aligned to its
// elements although the format allows no gaps. The caller chooses the tensors (proof/record/recording_file.h).
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "files/safetensors.h"

namespace invar {

class SafeTensorsWriter {
  public:
    // Text must be UTF-8; other bytes become U+FFFD. A key that is there already gets the new value.
    void add_metadata(std::string_view key, std::string_view value);

    // `data` is borrowed until write(). Errors name the tensor: a duplicate or reserved name, a name that is not UTF-8,
    // a shape whose bytes are not data.size().
    Result<void> add_tensor(std::string_view name, Dtype dtype, std::span<const int64_t> shape,
                            std::span<const std::byte> data);

    // Errors: a header above the format's limit; the file cannot be written.
    Result<void> write(const std::filesystem::path& target) const;
    // The same file in memory.
    Result<std::vector<std::byte>> bytes() const;

  private:
    struct Tensor {
        std::string name;
        Dtype dtype;
        std::vector<int64_t> shape;
        std::span<const std::byte> data;
    };

    std::vector<const Tensor*> in_file_order() const;
    Result<std::string> header() const;  // with the length in front and padded

    std::vector<Tensor> tensors_;
    std::map<std::string, std::string> metadata_;
};

}  // namespace invar
