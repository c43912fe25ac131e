// Checks the tokenizer and the chat template of a file: by themselves, against each other, and against the embedding.
#pragma once

#include "proof/audit/audit.h"

namespace invar {

// Appends to report.findings and report.not_checked.
void audit_text_support(const Checkpoint& file, AuditReport& report);

}  // namespace invar
