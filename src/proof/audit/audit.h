// What is wrong with a model file, or looks wrong, before anything is computed with it: the weights of every tensor,
// how tensors compare with each other, the tokenizer, the chat template. It reads the whole file once and changes
// nothing. The list of checks with their meaning is a table (audit_checks.cpp); what a pass over a tensor collects is
// audit_scan.h. It does not judge what a model says (invar eval) or compare two files (invar diff).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_fwd.h"
#include "base/result.h"
#include "files/checkpoint.h"
#include "machine/thread_pool.h"

namespace invar {

enum class Severity : uint8_t {
    note,     // worth knowing; nothing to repair
    warning,  // hardly ever on purpose; look
    error,    // the file cannot compute what it was made to compute
};
std::string_view severity_name(Severity severity);

struct AuditCheck {
    std::string_view name;  // "non-finite-scale": stable, for programs
    Severity severity = Severity::note;
    std::string_view meaning, advice;  // a sentence each
};
std::span<const AuditCheck> audit_checks();
const AuditCheck& audit_check(std::string_view name);  // one of the table

// One thing found. What concerns many blocks or rows of a tensor is one finding with its count and the first place.
struct AuditFinding {
    const AuditCheck* check = nullptr;
    std::string subject;       // the tensor's name, "tokenizer", "chat template" or "file"
    std::string what;          // a sentence with the place and the numbers
    int64_t count = 1;         // blocks, rows, weights or tokens concerned
    int64_t block = -1;        // of the tensor (float formats: runs of 256 weights), the first concerned; -1: none
    int64_t row = -1;          // of the tensor, all experts counted; -1: none
    int file_index = 0;        // part of a split file
    int64_t file_offset = -1;  // bytes from the start of that part to the first trouble; -1: none
};

struct AuditReport {
    std::string file;
    int64_t tensors = 0, weights = 0, bytes = 0;
    std::vector<AuditFinding> findings;    // errors first, then as in the file
    std::vector<std::string> not_checked;  // what could not be looked at, and why

    int64_t count(Severity severity) const;
};

// Called with the bytes of tensors looked at, of all; false stops with an error.
using AuditProgress = std::function<bool(int64_t done, int64_t total)>;
Result<AuditReport> audit(const Checkpoint& file, ThreadPool& pool, const AuditProgress& progress);

Json audit_as_json(const AuditReport& report);
std::string audit_as_text(const AuditReport& report);

}  // namespace invar
