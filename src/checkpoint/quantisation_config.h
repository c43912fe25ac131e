// What config.json says of quantised modules: by which tool, which modules it means and which it leaves alone. How a
// module is stored is seen from its tensors (module_tensors.h); this is what that is checked against. It is never taken
// from recipe.yaml, which is a log of how the file was made.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "files/checkpoint.h"

namespace invar {

struct QuantisationConfig {
    std::string method;                // "compressed-tensors", "modelopt", "fp8", "mxfp4"
    std::vector<std::string> targets;  // names, "re:..." (Python's re.match), or classes such as "Linear"
    std::vector<std::string> ignore;   // likewise
    bool ignore_is_complete = false;   // every module that is meant and not listed is quantised

    // Nothing where the config says nothing of it. Errors: a method, format or algorithm that is not supported, by
    // name.
    static Result<std::optional<QuantisationConfig>> read(const Checkpoint& checkpoint);

    bool ignores(std::string_view module) const;
    bool means(std::string_view module) const;
};

// Whether an entry of such a list means a module; a class name means every module where it is "Linear", and else none.
bool entry_means(const std::string& entry, std::string_view module);

}  // namespace invar
