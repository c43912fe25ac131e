// Compares an output with the files that are read: see output_path.h.
#include "files/output_path.h"

#include <system_error>

#include "base/atomic_file.h"
#include "files/model_directory.h"
#include "files/printable.h"

namespace invar {

std::vector<std::filesystem::path> files_of(const Checkpoint& model) {
    if (model.directory() != nullptr) return model.directory()->paths();
    return {model.paths().begin(), model.paths().end()};
}

Result<void> check_output(std::span<const std::filesystem::path> files, const std::filesystem::path& out) {
    for (const std::filesystem::path& file : files) {
        std::error_code ignored;  // an output that is not there yet is none of the files
        if (!std::filesystem::equivalent(file, out, ignored)) continue;
        return fail("{}: is a file of the model that is read; give the output another name",
                    printable(out.string(), 4096));
    }
    TRY(AtomicFile::place_of(out));
    return {};
}

Result<void> check_output(const Checkpoint& model, const std::filesystem::path& out) {
    return check_output(files_of(model), out);
}

}  // namespace invar
