#include "checkpoint/stored_bytes.h"

#include "layout/rows4.h"

namespace invar {

int64_t stored_bytes(const Format& format, StoredForm form, const std::vector<int64_t>& shape) {
    const int64_t columns = shape.back();
    const int64_t rows = shape.size() >= 2 ? shape[shape.size() - 2] : 1;
    const int64_t count = shape.size() == 3 ? shape[0] : 1;
    switch (form) {
        case StoredForm::as_stored:
            return count * rows * format.row_bytes(columns);
        case StoredForm::rows4:
            return count * rows4_bytes(format, rows, columns);
        case StoredForm::device_lanes:
            break;  // no host memory
        case StoredForm::binary32:
            return count * rows * columns * static_cast<int64_t>(sizeof(float));
    }
    return 0;
}

}  // namespace invar
