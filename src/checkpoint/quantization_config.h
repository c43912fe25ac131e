// What config.json declares about quantised modules: the tool, the modules that it quantised, and those that it left
// out. How a module is stored follows from its tensors (module_tensors.h), which are checked against this. It is never
// taken from recipe.yaml, which is a log of how the file was made.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "files/checkpoint.h"
#include "files/stored_weight.h"

namespace invar {

// A list of modules as a config has it: names, "re:..." (Python's re.match), or classes. The class name "Linear" means
// every module, any other class name none. Its questions take the same time for lists of any length, but for
// expressions. One thread asks at a time, also of copies: they share the room in which expressions are matched.
class ModuleList {
  public:
    ModuleList() = default;
    // An expression that is broken means no module.
    explicit ModuleList(std::span<const std::string> entries);

    bool means(std::string_view module) const;

  private:
    struct Expression;
    struct TextHash : std::hash<std::string_view> {
        using is_transparent = void;
    };

    bool all_ = false;
    std::unordered_set<std::string, TextHash, std::equal_to<>> names_, bare_names_;  // bare: without a root
    std::vector<std::shared_ptr<const Expression>> expressions_;
};

// A group of modules that are stored alike, as the config states it; what it does not state is empty or 0.
struct QuantizationGroup {
    ModuleList targets;
    std::string format, type;  // "nvfp4-pack-quantized", "float"
    int64_t bits = 0, group_size = 0;
    bool symmetric = true;
};

struct QuantizationConfig {
    std::string method;  // "compressed-tensors", "modelopt", "fp8", "mxfp4"
    std::vector<QuantizationGroup> groups;
    std::vector<std::string> ignore;  // the entries of a ModuleList
    ModuleList ignored;               // the same
    bool ignore_is_complete = false;  // every module that is meant and not listed is quantised

    // Returns nothing if the config declares no quantisation. Errors name a method, format, algorithm or transformation
    // that is not supported, and lists that are no lists of texts or hold broken expressions.
    static Result<std::optional<QuantizationConfig>> read(const Checkpoint& checkpoint);

    bool ignores(std::string_view module) const { return ignored.means(module); }
    bool means(std::string_view module) const;
    // Compares what the config states about a module with how its weights are stored. `file` is the config's.
    Result<void> check(const std::string& file, std::string_view module, const StoredWeight& weight) const;
};

}  // namespace invar
