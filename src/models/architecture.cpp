#include "models/architecture.h"

#include <array>

#include "files/printable.h"
#include "models/architectures.h"

namespace invar {
namespace {

constexpr std::array<const Architecture*, 4> kArchitectures = {
    &kLlamaArchitecture,
    &kQwen2Architecture,
    &kQwen3Architecture,
    &kQwen3MoeArchitecture,
};

}  // namespace

std::span<const Architecture* const> architectures() { return kArchitectures; }

Result<const Architecture*> find_architecture(const GgufFile& file) {
    TRY_ASSIGN(const std::string_view name, file.metadata().string("general.architecture"));
    std::string supported;
    for (const Architecture* architecture : kArchitectures) {
        if (architecture->name == name) return architecture;
        supported += fmt::format("{}{}", supported.empty() ? "" : ", ", architecture->name);
    }
    return fail(ErrorKind::unsupported, "{}: architecture '{}' is not supported (supported: {})", file.name(),
                printable(name), supported);
}

}  // namespace invar
