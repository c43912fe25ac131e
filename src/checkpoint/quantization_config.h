// What config.json declares about quantised modules: the tool, the modules that it quantised, and those that it left
// out. How a module is stored follows from its tensors (module_tensors.h), which are checked against this. It is never
// taken from recipe.yaml, which is a log of how the file was made.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "files/checkpoint.h"

namespace invar {

struct QuantizationConfig {
    std::string method;                // "compressed-tensors", "modelopt", "fp8", "mxfp4"
    std::vector<std::string> targets;  // names, "re:..." (Python's re.match), or classes such as "Linear"
    std::vector<std::string> ignore;   // likewise
    bool ignore_is_complete = false;   // every module that is meant and not listed is quantised

    // Returns nothing if the config declares no quantisation. Errors name a method, format or algorithm that is not
    // supported.
    static Result<std::optional<QuantizationConfig>> read(const Checkpoint& checkpoint);

    bool ignores(std::string_view module) const;
    bool means(std::string_view module) const;
};

// Whether an entry of such a list means a module. The class name "Linear" means every module, any other class name
// none.
bool entry_means(const std::string& entry, std::string_view module);

}  // namespace invar
