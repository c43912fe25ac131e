// Compares tensors with each other: the same tensor across layers, and copies of tensors and experts.
#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "files/printable.h"
#include "proof/audit/audit_weights.h"
#include "proof/audit/robust_centre.h"

namespace invar {

void WeightAudit::compare_tensors() {
    compare_layers();
    find_equal_tensors();
    find_equal_experts();
}

void WeightAudit::compare_layers() {
    std::map<std::string, std::vector<const TensorSummary*>> parts;
    for (const TensorSummary& summary : summaries_) {
        if (summary.name.layer < 0 || is_bias(summary.name) || !(summary.typical_rms > 0)) continue;
        parts[summary.name.part].push_back(&summary);
    }
    for (const auto& [part, layers] : parts) {
        if (layers.size() < 4) continue;  // among three, none can be called the odd one
        std::vector<double> sizes;
        for (const TensorSummary* one : layers) sizes.push_back(std::log2(one->typical_rms));
        const RobustCentre centre = robust_centre(sizes);
        // Matrices of one kind stay within a factor of 4 over a model's layers; norms of the first layers of published
        // models are up to 16 times smaller than later ones.
        const double least = layers[0]->tensor->shape.size() == 1 ? 5.0 : 3.0;
        const double most = std::max(least, 8 * centre.deviation);
        for (size_t i = 0; i < layers.size(); ++i) {
            if (std::fabs(sizes[i] - centre.median) <= most) continue;
            findings_.push_back(
                {.check = &audit_check("odd-layer"),
                 .subject = printable(layers[i]->tensor->name),
                 .what = fmt::format(
                     "its typical weight is {:.4g}, {:.3g} times the median {:.4g} of blk.*.{} over {} layers",
                     layers[i]->typical_rms, layers[i]->typical_rms / std::exp2(centre.median),
                     std::exp2(centre.median), printable(part), layers.size()),
                 .file_index = layers[i]->tensor->file_index,
                 .file_offset = static_cast<int64_t>(layers[i]->tensor->file_offset)});
        }
    }
}

void WeightAudit::find_equal_tensors() {
    std::map<std::pair<uint64_t, uint64_t>, const TensorSummary*> seen;  // by bytes and hash
    for (const TensorSummary& summary : summaries_) {
        const TensorInfo& tensor = *summary.tensor;
        if (summary.constant) continue;
        const auto [place, fresh] = seen.try_emplace({tensor.bytes, summary.hash}, &summary);
        if (fresh) continue;
        const TensorInfo& other = *place->second->tensor;
        if (tensor.format != other.format || std::memcmp(tensor.data, other.data, tensor.bytes) != 0) continue;
        const bool head = is_token_table(summary.name) && is_token_table(place->second->name);
        const std::string saved =
            head ? fmt::format(", {:.1f} MiB", static_cast<double>(tensor.bytes) / (1 << 20)) : std::string();
        findings_.push_back({.check = &audit_check(head ? "head-stored-twice" : "duplicated-tensor"),
                             .subject = printable(tensor.name),
                             .what = fmt::format("the same {} bytes as {}{} (byte {} of the file)", tensor.bytes,
                                                 printable(other.name), saved, tensor.file_offset),
                             .file_index = tensor.file_index,
                             .file_offset = static_cast<int64_t>(tensor.file_offset)});
    }
}

// Finds experts that copy an expert of another tensor. Copies within one tensor were found when it was scanned.
void WeightAudit::find_equal_experts() {
    struct Expert {
        const TensorSummary* summary = nullptr;
        size_t expert = 0;
    };
    std::map<uint64_t, Expert> seen;
    std::set<uint64_t> tensors;  // hashes; a tensor that repeats another one was reported as a whole
    for (const TensorSummary& summary : summaries_) {
        if (summary.experts.empty() || !tensors.insert(summary.hash).second) continue;
        const TensorInfo& tensor = *summary.tensor;
        const uint64_t bytes = tensor.bytes / summary.experts.size();
        int64_t count = 0;
        AuditFinding finding{.check = &audit_check("duplicated-experts"), .subject = printable(tensor.name)};
        for (size_t e = 0; e < summary.experts.size(); ++e) {
            if (summary.experts[e] == 0) continue;
            const auto [place, fresh] = seen.try_emplace(summary.experts[e], Expert{&summary, e});
            const TensorInfo& other = *place->second.summary->tensor;
            if (fresh || &other == &tensor || other.format != tensor.format) continue;
            const std::byte* mine = tensor.data + e * bytes;
            if (std::memcmp(mine, other.data + place->second.expert * bytes, bytes) != 0 || count++ > 0) continue;
            finding.file_index = tensor.file_index;
            finding.file_offset = static_cast<int64_t>(tensor.file_offset + e * bytes);
            finding.row = static_cast<int64_t>(e) * tensor.shape[tensor.shape.size() - 2];
            finding.what = fmt::format("expert {} holds the same bytes as expert {} of {} (byte {} of the file)", e,
                                       place->second.expert, printable(other.name), finding.file_offset);
        }
        finding.count = count;
        if (count > 1) finding.what += fmt::format("; {} experts in all", count);
        if (count > 0) findings_.push_back(std::move(finding));
    }
}

}  // namespace invar
