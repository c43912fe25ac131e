// Fuzzes the text of --inject: an accepted specification equals what its own text gives, and no text is read out of
// bounds.
#include <cstdlib>

#include "proof/faults/faults.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const auto spec = invar::parse_fault({reinterpret_cast<const char*>(data), size});
    if (!spec) return 0;
    const std::string text = invar::to_string(*spec);
    const auto again = invar::parse_fault(text);
    if (!again || invar::to_string(*again) != text) std::abort();
    return 0;
}
