// Reads the pattern of windows, and the kinds of layers that name those with one: see window_pattern.h and
// read_config.h.
#include "models/window_pattern.h"

#include <algorithm>

#include "files/printable.h"
#include "models/gemma_config.h"
#include "models/read_config.h"

namespace invar {

Result<std::vector<bool>> read_sliding_layers(const Hyperparameters& keys, size_t layers) {
    std::vector<bool> sliding;
    if (!keys.has("layer kinds")) return sliding;
    TRY_ASSIGN(const std::vector<std::string> kinds, keys.kinds_of_layers("layer kinds", layers));
    for (const std::string& kind : kinds) {
        if (kind != "full_attention" && kind != "sliding_attention") {
            return fail(ErrorKind::unsupported,
                        "{}: {} has the kind '{}' for layer {}, but only full_attention and sliding_attention are "
                        "supported",
                        keys.file(), keys.spell("layer kinds"), printable(kind), sliding.size());
        }
        sliding.push_back(kind == "sliding_attention");
    }
    return sliding;
}

Result<std::vector<bool>> read_window_pattern(const Hyperparameters& keys, ModelConfig& config, int64_t period) {
    std::vector<bool> slides;
    if (!keys.has("window")) {
        if (!is_gguf(keys) || !keys.has("window pattern")) return slides;
        return fail("{}: {} says which layers have a window, but {} is missing; the file is incomplete", keys.file(),
                    keys.spell("window pattern"), keys.spell("window"));
    }
    TRY_ASSIGN(const int64_t window, keys.integer("window", 1, int64_t{1} << 30));
    TRY_ASSIGN(slides, read_gemma_windows(keys, config.layers.size(), period));
    if (is_gguf(keys) && !keys.has("window pattern")) {
        config.notes.push_back(fmt::format("{} is absent; every {}th layer of {} sees all positions",
                                           keys.spell("window pattern"), period, config.architecture));
    }
    for (size_t i = 0; i < slides.size(); ++i)
        std::get<AttentionGeometry>(config.layers[i].mixer).window = slides[i] ? static_cast<int>(window) : 0;
    return slides;
}

}  // namespace invar
