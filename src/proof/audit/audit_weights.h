// Judges what a pass over the tensors collected (audit_scan.h): first each tensor alone, then tensors against each
// other (audit_tensors.cpp). Thresholds stand where they are used, each with the reason for its number.
#pragma once

#include <string>
#include <vector>

#include "proof/audit/audit.h"
#include "proof/audit/audit_scan.h"

namespace invar {

// "blk.12.attn_q.weight" is part "attn_q.weight" of layer 12; other names are all part, layer -1.
struct TensorName {
    int layer = -1;
    std::string part;
};
TensorName take_apart(const std::string& tensor);
// Rows of tokens: untrained tokens make them untypical on purpose.
bool is_token_table(const TensorName& name);
bool is_norm(const TensorName& name);
bool is_bias(const TensorName& name);
bool is_router(const TensorName& name);

// What remains of a tensor's scan for comparing tensors with each other.
struct TensorSummary {
    const TensorInfo* tensor = nullptr;
    TensorName name;
    uint64_t hash = 0;       // of all rows
    double typical_rms = 0;  // matrices: the median over blocks, so that one damaged block does not count; vectors: RMS
    bool constant = false;   // one value throughout
    std::vector<uint64_t> experts;  // of stacks: the hash of each expert's rows; 0: nothing but constant blocks
};

class WeightAudit {
  public:
    explicit WeightAudit(std::vector<AuditFinding>& findings) : findings_(findings) {}

    // `scale`: the multiplier of the whole tensor, which its blocks do not know.
    void look_at(const TensorInfo& tensor, const TensorScan& scan, double scale = 1);
    // After the last tensor.
    void compare_tensors();

  private:
    struct Place {
        int64_t block = -1, offset_in_block = 0;
    };
    void add(std::string_view check, const TensorInfo& tensor, const TensorScan& scan, Place place, int64_t count,
             std::string what);
    void look_for_damage(const TensorInfo& tensor, const TensorScan& scan);
    void look_at_vector(const TensorInfo& tensor, const TensorScan& scan);
    void look_at_matrix(const TensorInfo& tensor, const TensorScan& scan);
    bool look_for_dead_matrices(const TensorInfo& tensor, const TensorScan& scan);
    void look_at_scales(const TensorInfo& tensor, const TensorScan& scan);
    void look_at_centre(const TensorInfo& tensor, const TensorScan& scan);
    void look_at_experts(const TensorInfo& tensor, const TensorScan& scan);
    void look_for_duplicates(const TensorInfo& tensor, const TensorScan& scan);
    void compare_layers();
    void find_equal_tensors();
    void find_equal_experts();

    std::vector<AuditFinding>& findings_;
    std::vector<TensorSummary> summaries_;
};

}  // namespace invar
