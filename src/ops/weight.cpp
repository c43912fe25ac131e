// The names of weights and stored forms, as plans, traces and errors print them. weight.h explains them.
#include "ops/weight.h"

#include <fmt/format.h>

namespace invar {

std::string to_string(WeightId id) {
    if (id.layer < 0) return std::string(id.role);
    return fmt::format("layer {} {}", id.layer, id.role);
}

std::string_view stored_form_name(StoredForm form) {
    switch (form) {
        case StoredForm::as_stored:
            return "as_stored";
        case StoredForm::rows4:
            return "rows4";
        case StoredForm::device_lanes:
            return "device_lanes";
        case StoredForm::binary32:
            return "binary32";
    }
    return "unknown";
}

}  // namespace invar
