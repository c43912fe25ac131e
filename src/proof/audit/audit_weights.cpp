#include "proof/audit/audit_weights.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/hash.h"
#include "files/printable.h"
#include "proof/audit/audit_duplicates.h"
#include "proof/audit/block_scales.h"
#include "proof/audit/robust_centre.h"

namespace invar {
namespace {

std::string times(int64_t count, std::string_view one, std::string_view many) {
    return fmt::format("{} {}", count, count == 1 ? one : many);
}

int64_t block_weights(const TensorInfo& tensor) {
    return tensor.format->block_weights == 1 ? kRunWeights : tensor.format->block_weights;
}

// Spells a block as "expert 3, row 2, columns 256 to 511".
std::string spell_block(const TensorInfo& tensor, const TensorScan& scan, int64_t block) {
    const int64_t row = block / scan.blocks_of_row;
    const int64_t first = block % scan.blocks_of_row * block_weights(tensor);
    const int64_t last = std::min(first + block_weights(tensor), tensor.columns()) - 1;
    const auto experts = static_cast<int64_t>(scan.matrices.size());
    const int64_t rows = tensor.rows() / experts;
    std::string text = experts > 1 ? fmt::format("expert {}, ", row / rows) : std::string();
    if (tensor.shape.size() > 1) text += fmt::format("row {}, ", row % rows);
    return text + fmt::format("columns {} to {}", first, last);
}

std::string spell_row(const TensorInfo& tensor, const TensorScan& scan, int64_t row) {
    const auto experts = static_cast<int64_t>(scan.matrices.size());
    const int64_t rows = tensor.rows() / experts;
    return experts > 1 ? fmt::format("row {} of expert {}", row % rows, row / rows) : fmt::format("row {}", row);
}

double octaves(int bins) { return static_cast<double>(bins) / Magnitudes::kBinsPerOctave; }

double rms(const MatrixSums& sums) {
    return sums.finite == 0 ? 0 : std::sqrt(sums.sum_of_squares / static_cast<double>(sums.finite));
}

}  // namespace

bool is_token_table(const TensorName& name) {
    return name.part == "token_embd.weight" || name.part == "output.weight" ||
           name.part.ends_with("embed_tokens.weight") || name.part.ends_with("lm_head.weight");
}
bool is_norm(const TensorName& name) { return name.part.ends_with("norm.weight"); }
bool is_bias(const TensorName& name) { return name.part.ends_with(".bias"); }
bool is_router(const TensorName& name) {
    return name.part == "ffn_gate_inp.weight" || name.part == "mlp.gate.weight" ||
           name.part == "block_sparse_moe.gate.weight";
}

TensorName take_apart(const std::string& tensor) {
    constexpr std::string_view kPrefix = "blk.", kLayers = "layers.";
    const size_t layers = tensor.find(kLayers);
    if (!tensor.starts_with(kPrefix) && layers == std::string::npos) return {.layer = -1, .part = tensor};
    int layer = 0;
    const char* begin = tensor.data() + (tensor.starts_with(kPrefix) ? kPrefix.size() : layers + kLayers.size());
    const char* end = tensor.data() + tensor.size();
    const auto [rest, error] = std::from_chars(begin, end, layer);
    if (error != std::errc() || rest == end || *rest != '.') return {.layer = -1, .part = tensor};
    return {.layer = layer, .part = std::string(rest + 1, end)};
}

void WeightAudit::add(std::string_view check, const TensorInfo& tensor, const TensorScan& scan, Place place,
                      int64_t count, std::string what) {
    AuditFinding finding{.check = &audit_check(check),
                         .subject = printable(tensor.name),
                         .what = std::move(what),
                         .count = count,
                         .file_index = tensor.file_index};
    if (place.block >= 0) {
        const int64_t offset = offset_of_block(tensor, scan, place.block) + place.offset_in_block;
        finding.block = place.block;
        finding.row = place.block / scan.blocks_of_row;
        finding.file_offset = static_cast<int64_t>(tensor.file_offset) + offset;
        finding.what += fmt::format(" (byte {} of the file)", finding.file_offset);
    }
    findings_.push_back(std::move(finding));
}

void WeightAudit::look_at(const TensorInfo& tensor, const TensorScan& scan, double scale) {
    TensorSummary summary{.tensor = &tensor, .name = take_apart(tensor.name)};
    MatrixSums all;
    for (const MatrixSums& sums : scan.matrices) {
        all.sum_of_squares += sums.sum_of_squares;
        all.finite += sums.finite;
    }
    const bool vector = tensor.shape.size() == 1;
    summary.typical_rms = scale * (vector ? rms(all) : Magnitudes::value_of(scan.block_rms.median()));
    summary.constant = scan.least >= scan.most;
    summary.hash = vector ? short_hash_of({tensor.data, static_cast<size_t>(tensor.bytes)})
                          : short_hash_of(std::as_bytes(std::span(scan.row_hashes)));
    if (scan.matrices.size() > 1) summary.experts = hashes_of_experts(scan);
    summaries_.push_back(std::move(summary));
    look_for_damage(tensor, scan);
    vector ? look_at_vector(tensor, scan) : look_at_matrix(tensor, scan);
}

void WeightAudit::look_for_damage(const TensorInfo& tensor, const TensorScan& scan) {
    const std::span<const ScaleField> fields = tensor.format->scales;
    if (const Tally& bad = scan.reserved_scales; bad.count > 0) {
        const ScaleField& field = fields[static_cast<size_t>(bad.detail)];
        const std::byte* block = tensor.data + offset_of_block(tensor, scan, bad.block);
        add(is_ieee(field.kind) ? "non-finite-scale" : "reserved-scale", tensor, scan, {bad.block, field.offset},
            bad.count,
            fmt::format("{} of {}; the first is block {}, {}: {}", times(bad.count, "bad scale", "bad scales"),
                        times(scan.blocks, "block", "blocks"), bad.block, spell_block(tensor, scan, bad.block),
                        describe(field, read_scale(field, block))));
    }
    const auto weight_finding = [&](std::string_view check, const Tally& bad, std::string_view what) {
        if (bad.count == 0) return;
        const std::byte* block = tensor.data + offset_of_block(tensor, scan, bad.block);
        const Format& format = *tensor.format;
        const int64_t skipped = format.block_weights == 1 ? bad.detail * format.block_bytes : 0;
        const float value =
            format.weight(block + skipped, skipped != 0 ? 0 : static_cast<int>(bad.detail % format.block_weights));
        add(check, tensor, scan, {bad.block, skipped}, bad.count,
            fmt::format("{} with {} among {}; the first is block {}, {}: its weight {} is {:g}",
                        times(bad.count, "block", "blocks"), what, scan.blocks, bad.block,
                        spell_block(tensor, scan, bad.block), bad.detail, value));
    };
    weight_finding("non-finite-weight", scan.non_finite_weights, "weights that are no finite numbers");
    weight_finding("huge-weight", scan.huge_weights, "weights above 65504");
}

void WeightAudit::look_at_vector(const TensorInfo& tensor, const TensorScan& scan) {
    const TensorName name = take_apart(tensor.name);
    if (scan.least != scan.most || scan.matrices[0].finite != tensor.weights()) return;
    if (scan.most == 0) {
        add(is_bias(name) ? "zero-bias" : "dead-tensor", tensor, scan, {0, 0}, 1,
            fmt::format("all {} weights are zero", tensor.weights()));
    } else if (is_norm(name) && scan.most == 1 && tensor.weights() > 1) {
        add("constant-norm", tensor, scan, {0, 0}, 1, fmt::format("all {} weights are 1", tensor.weights()));
    }
}

void WeightAudit::look_at_matrix(const TensorInfo& tensor, const TensorScan& scan) {
    const bool tokens = is_token_table(take_apart(tensor.name));
    if (look_for_dead_matrices(tensor, scan)) return;
    const Tally& blocks = scan.dead_blocks;
    if (blocks.count > 0) {
        add("dead-blocks", tensor, scan, {blocks.block, 0}, blocks.count,
            fmt::format("{} of {} are zero in rows that are not; the first is block {}, {}",
                        times(blocks.count, "block", "blocks"), scan.blocks, blocks.block,
                        spell_block(tensor, scan, blocks.block)));
    }
    if (const Tally& constant = scan.constant_blocks; constant.count > 0) {
        const float value = tensor.format->weight(tensor.data + offset_of_block(tensor, scan, constant.block), 0);
        add("constant-blocks", tensor, scan, {constant.block, 0}, constant.count,
            fmt::format("{} of {} hold one number only; the first is block {}, {}: every weight is {:g}",
                        times(constant.count, "block", "blocks"), scan.blocks, constant.block,
                        spell_block(tensor, scan, constant.block), value));
    }
    look_at_scales(tensor, scan);
    look_at_centre(tensor, scan);
    if (scan.matrices.size() > 1) look_at_experts(tensor, scan);
    if (tokens || scan.row_hashes.size() > 1) look_for_duplicates(tensor, scan);
}

// Returns whether the whole tensor is dead, so that nothing else needs to be said about it.
bool WeightAudit::look_for_dead_matrices(const TensorInfo& tensor, const TensorScan& scan) {
    const int64_t rows = tensor.rows() / static_cast<int64_t>(scan.matrices.size());
    const auto is_dead = [&](const MatrixSums& sums) {
        return sums.sum_of_squares == 0 && sums.finite == rows * tensor.columns();
    };
    const auto dead = std::count_if(scan.matrices.begin(), scan.matrices.end(), is_dead);
    if (dead == static_cast<int64_t>(scan.matrices.size())) {
        add("dead-tensor", tensor, scan, {0, 0}, 1, fmt::format("all {} weights are zero", tensor.weights()));
        return true;
    }
    if (dead > 0) {
        const auto first = std::find_if(scan.matrices.begin(), scan.matrices.end(), is_dead) - scan.matrices.begin();
        add("dead-expert", tensor, scan, {first * rows * scan.blocks_of_row, 0}, dead,
            fmt::format("{} of {} are zero; the first is expert {}", times(dead, "expert", "experts"),
                        scan.matrices.size(), first));
    }
    const int64_t count = scan.dead_rows.count - dead * rows;
    if (count > 0) {
        const bool tokens = is_token_table(take_apart(tensor.name));
        const std::string first =
            dead > 0
                ? std::string()
                : fmt::format("; the first is {}", spell_row(tensor, scan, scan.dead_rows.block / scan.blocks_of_row));
        add(tokens ? "unused-tokens" : "dead-rows", tensor, scan, {dead > 0 ? -1 : scan.dead_rows.block, 0}, count,
            fmt::format("{} of {} are zero{}", times(count, "row", "rows"), tensor.rows(), first));
    }
    return false;
}

void WeightAudit::look_at_scales(const TensorInfo& tensor, const TensorScan& scan) {
    const std::span<const ScaleField> fields = tensor.format->scales;
    for (size_t g = 0; g < scan.scales.size(); ++g) {
        const ScaleGroup& group = scan.scales[g];
        if (group.largest.block < 0) continue;
        const int median = group.magnitudes.median(), deviation = group.magnitudes.deviation(median);
        // Seven octaves: outliers of trained models ("super weights") reach five above the median block, and a flipped
        // exponent bit of weight 8 or 16 moves a scale by 8 or 16. Twelve deviations: token tables spread widely.
        const int high = median + std::max(7 * Magnitudes::kBinsPerOctave, 12 * deviation);
        // Ten octaves below: a thousandth of the neighbours is next to nothing.
        const int low = median - std::max(10 * Magnitudes::kBinsPerOctave, 12 * deviation);
        const std::string_view name = fields.empty() ? "the largest weight"
                                      : g == 0       ? "the scale"
                                                     : "the minimum's scale";
        const auto finding = [&](std::string_view check, const Extreme& extreme, int64_t count, std::string_view side) {
            const int offset = fields.empty() ? 0 : fields[static_cast<size_t>(extreme.field)].offset;
            add(check, tensor, scan, {extreme.block, offset}, count,
                fmt::format(
                    "{} of {} {} {} octaves {} the median; the farthest is block {}, {}: {} is {:g}, the median {:g}",
                    times(count, "block", "blocks"), scan.blocks, count == 1 ? "is" : "are",
                    octaves(side == "above" ? high - median : median - low), side, extreme.block,
                    spell_block(tensor, scan, extreme.block), name, extreme.value, Magnitudes::value_of(median)));
        };
        if (group.magnitudes.above(high) > 0 && scan.huge_weights.count == 0)
            finding("scale-outlier", group.largest, group.magnitudes.above(high), "above");
        if (group.magnitudes.below(low) > 0)
            finding("faint-blocks", group.smallest, group.magnitudes.below(low), "below");
    }
    // One in a hundred: every model has single faint blocks with coarse scales, and they do not matter.
    const int64_t all = scan.blocks * static_cast<int64_t>(fields.size());
    if (const Tally& coarse = scan.coarse_scales; coarse.count * 100 > all) {
        const ScaleField& field = fields[static_cast<size_t>(coarse.detail)];
        const ScaleValue value = read_scale(field, tensor.data + offset_of_block(tensor, scan, coarse.block));
        add("coarse-scales", tensor, scan, {coarse.block, field.offset}, coarse.count,
            fmt::format("{} of {} {} below 32 steps of binary16; the first is block {}, {}: {}, {} steps, off by up to "
                        "{:.1f} %",
                        times(coarse.count, "scale", "scales"), all, coarse.count == 1 ? "is" : "are", coarse.block,
                        spell_block(tensor, scan, coarse.block), describe(field, value), value.subnormal_steps,
                        50.0 / value.subnormal_steps));
    }
}

void WeightAudit::look_at_centre(const TensorInfo& tensor, const TensorScan& scan) {
    if (scan.huge_weights.count > 0) return;  // huge weights dominate the mean
    MatrixSums all;
    for (const MatrixSums& sums : scan.matrices) {
        all.sum += sums.sum;
        all.sum_of_squares += sums.sum_of_squares;
        all.finite += sums.finite;
    }
    if (all.finite == 0 || scan.constant_blocks.count * 2 > scan.blocks) return;
    const double mean = all.sum / static_cast<double>(all.finite);
    // Half: the mean of a trained matrix stays below a tenth of its RMS; 4-bit codes read without their offset of 8
    // reach 0.87.
    constexpr double kShare = 0.5;
    if (std::fabs(mean) <= kShare * rms(all)) return;
    add("off-centre", tensor, scan, {}, 1,
        fmt::format("the mean of all weights is {:.4g} with an RMS of {:.4g}: a share of {:.2f}, trained matrices stay "
                    "below 0.1",
                    mean, rms(all), std::fabs(mean) / rms(all)));
}

void WeightAudit::look_at_experts(const TensorInfo& tensor, const TensorScan& scan) {
    std::vector<double> sizes;
    for (const MatrixSums& sums : scan.matrices) {
        if (sums.sum_of_squares > 0) sizes.push_back(std::log2(rms(sums)));
    }
    if (sizes.size() < 4) return;
    const RobustCentre centre = robust_centre(sizes);
    const double most = std::max(3.0, 8 * centre.deviation);  // three octaves: a factor of 8
    const int64_t rows = tensor.rows() / static_cast<int64_t>(scan.matrices.size());
    for (size_t e = 0; e < scan.matrices.size(); ++e) {
        const double size = rms(scan.matrices[e]);
        if (size == 0 || std::fabs(std::log2(size) - centre.median) <= most) continue;
        add("odd-expert", tensor, scan, {static_cast<int64_t>(e) * rows * scan.blocks_of_row, 0}, 1,
            fmt::format("expert {} has an RMS of {:.4g}, {:.3g} times the median of the {} experts", e, size,
                        size / std::exp2(centre.median), scan.matrices.size()));
    }
}

void WeightAudit::look_for_duplicates(const TensorInfo& tensor, const TensorScan& scan) {
    const TensorName name = take_apart(tensor.name);
    const Duplicates found = find_duplicates(tensor, scan);
    const int64_t rows_of_expert = tensor.rows() / static_cast<int64_t>(scan.matrices.size());
    if (const EqualPair& pair = found.experts; pair.count > 0) {
        add("duplicated-experts", tensor, scan, {pair.second * rows_of_expert * scan.blocks_of_row, 0}, pair.count,
            fmt::format("{} of {} repeat another; the first is expert {}, equal to expert {}",
                        times(pair.count, "expert", "experts"), scan.matrices.size(), pair.second, pair.first));
    }
    if (const EqualPair& pair = found.rows; pair.count > 0) {
        const std::string_view check = is_router(name)        ? "equal-router-rows"
                                       : is_token_table(name) ? "equal-tokens"
                                                              : "duplicated-rows";
        add(check, tensor, scan, {pair.second * scan.blocks_of_row, 0}, pair.count,
            fmt::format("{} of {} repeat another; the first is {}, equal to {}", times(pair.count, "row", "rows"),
                        tensor.rows(), spell_row(tensor, scan, pair.second), spell_row(tensor, scan, pair.first)));
    }
    if (const EqualPair& pair = found.blocks; pair.count > 0) {
        add("duplicated-blocks", tensor, scan, {pair.second, 0}, pair.count,
            fmt::format("{} of {}{} repeat another; the first is block {}, {}, equal to block {}, {}; random blocks "
                        "would be equal with a "
                        "probability of 2^{:.0f}",
                        times(pair.count, "block", "blocks"), scan.blocks,
                        scan.hashed_one_in > 1 ? fmt::format(" (one in {} was looked at)", scan.hashed_one_in) : "",
                        pair.second, spell_block(tensor, scan, pair.second), pair.first,
                        spell_block(tensor, scan, pair.first), found.log2_chance));
    }
}

}  // namespace invar
