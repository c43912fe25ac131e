// The hyper-parameters of a model, read from a checkpoint's metadata or refused: nothing here has a silent default, and
// geometry is per layer. What the numbers are used for is in the architecture's file beside this one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "arithmetic/rope.h"
#include "base/result.h"
#include "files/gguf.h"
#include "state/kv_cache.h"

namespace invar {

struct LayerGeometry {
    int heads = 0;
    int kv_heads = 0;
    int key_width = 0;    // elements of a query or key of one head
    int value_width = 0;  // elements of a value of one head
    int window = 0;       // positions seen, itself included; 0: all
    int64_t ffn_width = 0;
};

struct ExpertGeometry {
    int count = 0;  // 0: a dense model
    int per_token = 0;
    int64_t width = 0;
    bool renormalise = true;
};

struct ModelConfig {
    std::string architecture;  // "qwen3moe"
    std::string name;          // general.name, or the file's name
    int64_t vocabulary = 0;
    int64_t width = 0;           // of the residual stream
    int64_t context_length = 0;  // the model was trained for
    float norm_epsilon = 0;
    std::vector<LayerGeometry> layers;
    ExpertGeometry experts;
    RopeSpec rope;
    std::vector<std::string> notes;  // where a number did not come from the key one would expect, and why it is safe

    std::vector<KvGeometry> kv_geometry() const;
};

// Reads what the decoder families here share, from keys "<architecture>.<...>". The pairing is the architecture's.
Result<ModelConfig> read_decoder_config(const GgufFile& file, std::string_view architecture, RopePairing pairing);

}  // namespace invar
