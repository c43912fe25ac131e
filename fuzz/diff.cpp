// Fuzzes the comparison of two GGUF files. The first two bytes say where the input is cut in two. If the second part is
// no file, the first is compared with itself.
#include <cstdint>
#include <span>

#include "base/json.h"
#include "proof/diff/diff_checkpoints.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace invar;
    static const auto pool = ThreadPool::create({.threads = 1}).value();
    if (size < 2) return 0;
    const size_t cut = 2 + (data[0] | size_t{data[1]} << 8);
    const auto all = std::as_bytes(std::span(data, size));
    const auto first = cut < size ? all.subspan(2, cut - 2) : all.subspan(2);
    const auto second = cut < size ? all.subspan(cut) : all.subspan(2);
    const auto a = Checkpoint::from_bytes(first, "a.gguf");
    const auto b = Checkpoint::from_bytes(second, "b.gguf");
    if (!a && !b) return 0;
    const auto diff = diff_weights(a ? *a : *b, b ? *b : *a, *pool, nullptr);
    if (diff) {
        diff_as_text(*diff, true);
        diff_as_json(*diff).dump(-1, ' ', false, Json::error_handler_t::replace);
    }
    return 0;
}
