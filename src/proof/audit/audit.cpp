#include "proof/audit/audit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <optional>

#include "checkpoint/binding.h"
#include "checkpoint/module_tensors.h"
#include "checkpoint/quantization_config.h"
#include "files/block_packing.h"
#include "files/printable.h"
#include "proof/audit/audit_text.h"
#include "proof/audit/audit_weights.h"

namespace invar {
namespace {

struct Bound {
    std::vector<WantedWeight> wanted;
    std::vector<StoredWeight> weights;  // in the order in which they were declared
};

// What the engine would bind, as `invar plan` does; nothing if it would refuse the file.
std::optional<Bound> look_at_binding(const Checkpoint& file, AuditReport& report) {
    const auto finding = [&](std::string_view check, const Error& error) {
        report.findings.push_back({.check = &audit_check(check), .subject = "file", .what = error.message});
    };
    if (file.tensors().empty()) {
        report.not_checked.push_back("weights: the file has no tensors, a vocabulary only");
        return std::nullopt;
    }
    const auto architecture = find_architecture(file);
    if (!architecture) {
        finding("architecture", architecture.error());
        report.not_checked.push_back("whether tensors are missing or misshapen: the architecture is not supported");
        return std::nullopt;
    }
    const auto config = (*architecture)->read_config(file);
    if (!config) {
        finding("refused", config.error());
        return std::nullopt;
    }
    Bound bound{.wanted = (*architecture)->declare(*config, file)};
    auto binding = bind_weights(*config, bound.wanted, file);
    if (!binding) {
        finding("refused", binding.error());
        return std::nullopt;
    }
    bound.weights = std::move(binding->weights);
    return bound;
}

// The RMS of each matrix of a tensor, without the scales stored beside it.
using MatrixSizes = std::map<std::string, std::vector<double>>;

std::vector<double> sizes_of(const TensorScan& scan) {
    std::vector<double> sizes;
    for (const MatrixSums& sums : scan.matrices)
        sizes.push_back(sums.finite == 0 ? 0 : std::sqrt(sums.sum_of_squares / static_cast<double>(sums.finite)));
    return sizes;
}

// Checks the scales of whole tensors, which the blocks do not contain, and routers.
void look_at_scales(const Bound& bound, const MatrixSizes& sizes, AuditReport& report) {
    constexpr double kMostSize = 10;  // trained weights are of sizes around 0.02, and norms around 1
    for (size_t i = 0; i < bound.weights.size(); ++i) {
        const StoredWeight& weight = bound.weights[i];
        if (bound.wanted[i].alias_of) continue;
        const auto add = [&](std::string_view check, std::string what) {
            report.findings.push_back(
                {.check = &audit_check(check), .subject = printable(weight.name), .what = std::move(what)});
        };
        if (bound.wanted[i].id.role == "router" && !holds_plain_numbers(*weight.format))
            add("quantised-router", fmt::format("it is stored as {}", weight.format->name));
        const auto size = sizes.find(weight.name);
        for (size_t m = 0; m < weight.scales.size(); ++m) {
            const std::string which = weight.scales.size() > 1 ? fmt::format("matrix {}: ", m) : std::string();
            const double scale = weight.scales[m];
            if (scale == 0) add("dead-scale", which + "its scale is 0");
            if (size == sizes.end() || m >= size->second.size()) continue;
            const double stored = size->second[m], with = stored * std::fabs(scale);
            if (!(with > kMostSize)) continue;
            const double inverted = stored / std::fabs(scale);
            add("tensor-scale",
                fmt::format("{}the weights are of size {:.3g} with the scale {:.6g}; {}", which, with, scale,
                            scale == 1 ? "it may be missing"
                                       : fmt::format("with its inverse they would be of size {:.3g}", inverted)));
        }
    }
}

// Counts the scales that are negative or no finite numbers, of blocks, rows and whole tensors alike. Names tell them,
// so that they are counted in files that the engine refuses, too.
void look_at_stored_scales(const Checkpoint& file, AuditReport& report) {
    constexpr std::string_view kEnds[] = {".weight_scale",        ".weight_scale_inv", ".weight_scale_2",
                                          ".weight_global_scale", ".qscale_weight",    "_scales"};
    if (file.dialect() == Dialect::gguf) return;
    for (const TensorInfo& scales : file.tensors()) {
        const bool of_weights = std::any_of(std::begin(kEnds), std::end(kEnds),
                                            [&](std::string_view end) { return scales.name.ends_with(end); });
        if (!of_weights) continue;
        const std::string_view weight = std::string_view(scales.name).substr(0, scales.name.rfind("_scale"));
        const TensorInfo* packed = file.find(fmt::format("{}_packed", weight));
        const ScaleSign sign = packed != nullptr && packed->dtype == "I32" ? ScaleSign::any : ScaleSign::none;
        const int64_t bad = count_bad_scales(scales.dtype, {scales.data, scales.bytes}, sign);
        if (bad == 0) continue;
        report.findings.push_back({.check = &audit_check("block-scale"),
                                   .subject = printable(scales.name),
                                   .what = fmt::format("{} of {}", bad, scales.weights())});
    }
}

void look_at_ignore_list(const Checkpoint& file, AuditReport& report) {
    const auto config = QuantizationConfig::read(file);
    if (!config || !*config) return;
    for (const std::string& entry : (*config)->ignore) {
        const ModuleList list(std::span(&entry, 1));
        const bool used = std::any_of(file.tensors().begin(), file.tensors().end(), [&](const TensorInfo& tensor) {
            return list.means(std::string_view(tensor.name).substr(0, tensor.name.rfind('.')));
        });
        if (used || entry.find('*') != std::string::npos) continue;  // ModelOpt's globs are hints
        report.findings.push_back({.check = &audit_check("ignore-matches-nothing"),
                                   .subject = "file",
                                   .what = fmt::format("the entry '{}'", printable(entry))});
    }
}

class Audit {
  public:
    Audit(const Checkpoint& file, ThreadPool& pool, const AuditProgress& progress)
        : file_(file), pool_(pool), progress_(progress), weights_(report_.findings) {
        report_.file = file.name();
        report_.tensors = static_cast<int64_t>(file.tensors().size());
    }

    Result<AuditReport> run() {
        const std::optional<Bound> bound = look_at_binding(file_, report_);
        TRY(file_.dialect() == Dialect::gguf ? scan_tensors() : scan_weights(bound));
        weights_.compare_tensors();
        if (bound) look_at_scales(*bound, sizes_, report_);
        look_at_stored_scales(file_, report_);
        look_at_ignore_list(file_, report_);
        audit_text_support(file_, report_);
        std::stable_sort(
            report_.findings.begin(), report_.findings.end(),
            [](const AuditFinding& a, const AuditFinding& b) { return a.check->severity > b.check->severity; });
        return std::move(report_);
    }

  private:
    Result<void> scan(const TensorInfo& tensor, double scale) {
        const TensorScan scanned = scan_tensor(tensor, pool_);
        weights_.look_at(tensor, scanned, scale);
        sizes_[tensor.name] = sizes_of(scanned);
        report_.weights += tensor.weights();
        report_.bytes += static_cast<int64_t>(tensor.bytes);
        const auto total = static_cast<int64_t>(file_.tensor_bytes());
        if (!progress_ || progress_(std::min(report_.bytes, total), total)) return {};
        return fail("{}: stopped after {} of {} bytes", file_.name(), report_.bytes, total);
    }
    // The tensors of a GGUF file are scanned as they are stored, so that damage has a place in the file.
    Result<void> scan_tensors() {
        for (const TensorInfo& tensor : file_.tensors()) TRY(scan(tensor, 1));
        return {};
    }
    // The weights of a directory are scanned as blocks of their formats, because codes mean nothing without their
    // scales.
    Result<void> scan_weights(const std::optional<Bound>& bound) {
        if (!bound) {
            report_.not_checked.emplace_back("weights: which tensors belong together is not known");
            return {};
        }
        for (const StoredWeight& weight : bound->weights) {
            if (weight.matrices.empty()) continue;
            std::vector<std::byte> made;
            const std::byte* data = weight.in_place();
            if (data == nullptr) {
                RowReader reader(RowReader::Access::mapped);
                TRY_ASSIGN(const std::byte* rows, reader.rows(weight, 0, weight.rows()));
                made.assign(rows, rows + weight.bytes());
                data = made.data();
            }
            const StoredWeight::Place place = weight.place_of(0);
            as_tensors_.push_back({.name = weight.name,
                                   .format = weight.format,
                                   .shape = weight.shape,
                                   .data = data,
                                   .bytes = static_cast<uint64_t>(weight.bytes()),
                                   .file_index = place.file_index,
                                   .file_offset = static_cast<uint64_t>(place.offset)});
            TRY(scan(as_tensors_.back(), weight.scale_of(0)));
        }
        return {};
    }

    const Checkpoint& file_;
    ThreadPool& pool_;
    const AuditProgress& progress_;
    AuditReport report_;
    WeightAudit weights_;
    MatrixSizes sizes_;
    std::deque<TensorInfo> as_tensors_;  // the audit keeps their names
};

}  // namespace

int64_t AuditReport::count(Severity severity) const {
    return std::count_if(findings.begin(), findings.end(),
                         [&](const AuditFinding& finding) { return finding.check->severity == severity; });
}

Result<AuditReport> audit(const Checkpoint& file, ThreadPool& pool, const AuditProgress& progress) {
    return Audit(file, pool, progress).run();
}

}  // namespace invar
