#include "models/architecture.h"

#include <fmt/format.h>

#include <algorithm>

#include "files/printable.h"
#include "models/architectures.h"
#include "models/gguf_keys.h"
#include "models/hyperparameters.h"

namespace invar {
namespace {

#define INVAR_ADDRESS(architecture) &architecture,
constexpr const Architecture* kArchitectures[] = {INVAR_ARCHITECTURES(INVAR_ADDRESS)};
#undef INVAR_ADDRESS

}  // namespace

Result<ModelConfig> ConfigReader::operator()(const Checkpoint& checkpoint) const {
    if (checkpoint.dialect() != Dialect::gguf) return read_(checkpoint);
    const AskedWords asked;
    TRY_ASSIGN(ModelConfig config, read_(checkpoint));
    TRY(check_gguf_keys(checkpoint, asked, config));
    return config;
}

std::span<const Architecture* const> architectures() { return kArchitectures; }

Result<const Architecture*> find_architecture(const Checkpoint& checkpoint) {
    TRY_ASSIGN(const std::string name, Hyperparameters::architecture(checkpoint));
    const bool gguf = checkpoint.dialect() == Dialect::gguf;
    std::string supported;
    for (const Architecture* architecture : kArchitectures) {
        const std::vector<std::string_view>& types = architecture->model_types;
        const std::vector<std::string_view>& names = gguf ? architecture->also : types;
        if ((gguf && architecture->name == name) || std::find(names.begin(), names.end(), name) != names.end())
            return architecture;
        if (!gguf && types.empty()) continue;
        supported += fmt::format("{}{}", supported.empty() ? "" : ", ",
                                 gguf ? std::string(architecture->name) : fmt::format("{}", fmt::join(types, ", ")));
    }
    return fail(ErrorKind::unsupported, "{}: {} '{}' is not supported (supported: {})", checkpoint.name(),
                gguf ? "architecture" : "the config's model_type", printable(name), supported);
}

}  // namespace invar
