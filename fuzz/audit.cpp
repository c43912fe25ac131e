// Fuzzes the audit: any bytes that are a GGUF file can be audited without a crash or a read outside the file, in
// bounded time.
#include <cstdint>
#include <span>

#include "proof/audit/audit.h"

#include "base/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace invar;
    static const auto pool = ThreadPool::create({.threads = 1}).value();
    const auto file = Checkpoint::from_bytes(std::as_bytes(std::span(data, size)), "fuzz.gguf");
    if (!file) return 0;
    const auto report = audit(*file, *pool, nullptr);
    if (report) {
        audit_as_text(*report);
        audit_as_json(*report).dump(-1, ' ', false, Json::error_handler_t::replace);
    }
    return 0;
}
