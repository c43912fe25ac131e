#include "models/architecture.h"

#include "files/printable.h"
#include "models/architectures.h"

namespace invar {
namespace {

#define INVAR_ADDRESS(architecture) &architecture,
constexpr const Architecture* kArchitectures[] = {INVAR_ARCHITECTURES(INVAR_ADDRESS)};
#undef INVAR_ADDRESS

}  // namespace

std::span<const Architecture* const> architectures() { return kArchitectures; }

Result<const Architecture*> find_architecture(const Checkpoint& checkpoint) {
    TRY_ASSIGN(const std::string_view name, checkpoint.metadata().string("general.architecture"));
    std::string supported;
    for (const Architecture* architecture : kArchitectures) {
        if (architecture->name == name) return architecture;
        supported += fmt::format("{}{}", supported.empty() ? "" : ", ", architecture->name);
    }
    return fail(ErrorKind::unsupported, "{}: architecture '{}' is not supported (supported: {})", checkpoint.name(),
                printable(name), supported);
}

}  // namespace invar
