// Prints the comparison of two checkpoints as text and as JSON.
#include <algorithm>
#include <cmath>
#include <map>

#include "base/json.h"
#include "files/printable.h"
#include "proof/diff/diff_checkpoints.h"
#include "proof/diff/diff_verdict.h"

namespace invar {
namespace {

std::string formats_of(const TensorDistance& tensor) {
    const MatchedTensor& pair = *tensor.pair;
    return fmt::format("{} / {}", pair.a.format->name, pair.b.format->name);
}

Json finite_or_null(double number) { return std::isfinite(number) ? Json(number) : Json(nullptr); }

Json tensor_as_json(const TensorDistance& tensor) {
    const MatchedTensor& pair = *tensor.pair;
    Json json = {{"weight", to_string(pair.id)},
                 {"a", {{"tensor", printable(pair.a.name)}, {"format", pair.a.format->name}}},
                 {"b", {{"tensor", printable(pair.b.name)}, {"format", pair.b.format->name}}},
                 {"transforms", pair.transforms},
                 {"relative_rms", finite_or_null(tensor.relative_rms)},
                 {"expected", finite_or_null(tensor.expected)},
                 {"scale", finite_or_null(tensor.scale)},
                 {"scaled_rms", finite_or_null(tensor.scaled_rms)},
                 {"sign_flips", tensor.sign_flips},
                 {"weights", tensor.weights},
                 {"equal_bits", tensor.equal_bits}};
    json["worst_block"] = {{"row", tensor.worst.row},           {"column", tensor.worst.column},
                           {"weights", tensor.worst.weights},   {"relative", finite_or_null(tensor.worst.relative)},
                           {"offset_a", tensor.worst.offset_a}, {"offset_b", tensor.worst.offset_b}};
    json["suspicions"] = tensor.suspicions;
    return json;
}

Json drift_as_json(const DriftReport& drift) {
    Json layers = Json::array(), positions = Json::array();
    for (const LayerDrift& layer : drift.layers) {
        layers.push_back({{"layer", layer.layer},
                          {"relative_rms", layer.relative_rms},
                          {"added", layer.added},
                          {"worst", layer.worst},
                          {"worst_position", layer.worst_position}});
    }
    for (const PositionDrift& position : drift.positions)
        positions.push_back({{"kl", position.kl}, {"same_first_choice", position.same_best}});
    Json json = {{"layers", std::move(layers)},
                 {"positions", std::move(positions)},
                 {"kl_mean", drift.mean_kl()},
                 {"kl_max", drift.largest_kl()},
                 {"same_first_choice", drift.same_best_share()},
                 {"equal_bits", drift.equal_bits()}};
    json["first_jump"] = drift.first_jump == -2 ? Json(nullptr) : Json(drift.first_jump);
    return json;
}

std::string tensor_line(const TensorDistance& tensor) {
    const WorstBlock& worst = tensor.worst;
    return fmt::format("{:<28} {:<15} {:>10.3g} {:>10.3g} {:>9.5g} {:>10.3g}  row {}, column {}\n",
                       to_string(tensor.pair->id), formats_of(tensor), tensor.relative_rms, tensor.expected,
                       tensor.scale, worst.relative, worst.row, worst.column);
}

std::string table_header(std::string_view first) {
    return fmt::format("{:<28} {:<15} {:>10} {:>10} {:>9} {:>10}  {}\n", first, "formats A / B", "distance", "expected",
                       "scale", "worst", "worst block");
}

// The order of tensors by the distance that is shown; one that is not a number counts as the farthest.
bool nearer(const TensorDistance& x, const TensorDistance& y) {
    const auto distance = [](const TensorDistance& tensor) {
        return std::isnan(tensor.relative_rms) ? HUGE_VAL : tensor.relative_rms;
    };
    return distance(x) < distance(y);
}

std::string tensors_as_text(const CheckpointDiff& diff, bool every_tensor) {
    std::string text;
    std::map<std::pair<std::string_view, std::string>, std::vector<const TensorDistance*>> roles;
    for (const TensorDistance& tensor : diff.tensors) {
        roles[{tensor.pair->id.role, formats_of(tensor)}].push_back(&tensor);
        if (every_tensor) text += tensor_line(tensor);
    }
    if (every_tensor) return table_header("weight") + text;
    for (const auto& [role, tensors] : roles) {
        const TensorDistance* const most =
            *std::max_element(tensors.begin(), tensors.end(),
                              [](const TensorDistance* x, const TensorDistance* y) { return nearer(*x, *y); });
        text += tensor_line(*most);
    }
    return table_header("farthest of each kind") + text;
}

// Says whether the pair is lossless, and otherwise which tensor is farthest away.
std::string equality_as_text(const CheckpointDiff& diff) {
    const auto equal = std::count_if(diff.tensors.begin(), diff.tensors.end(),
                                     [](const TensorDistance& tensor) { return tensor.equal_bits; });
    const auto count = std::ssize(diff.tensors);
    std::string text;
    if (equal == count && count > 0) {
        text = fmt::format("all weights of {} tensors are equal to the bit\n", count);
    } else if (count > 0) {
        const auto farthest = std::max_element(diff.tensors.begin(), diff.tensors.end(), nearer);
        text = fmt::format("{} of {} tensors are equal to the bit; the farthest is {} ({}) at a distance of {:.3g}\n",
                           equal, count, to_string(farthest->pair->id), formats_of(*farthest), farthest->relative_rms);
    }
    if (diff.drift && diff.drift->equal_bits())
        text += fmt::format("all {} of {} tokens are equal to the bit\n",
                            diff.drift->logits ? "logits" : "residual streams", diff.drift->positions.size());
    return text;
}

std::string drift_as_text(const DriftReport& drift) {
    std::string text = fmt::format("\nrun on {} tokens: residual stream after each layer, rms(A - B) / rms(A)\n",
                                   drift.positions.size());
    for (const LayerDrift& layer : drift.layers) {
        const std::string name = layer.layer < 0 ? std::string("embedding") : fmt::format("layer {}", layer.layer);
        text += fmt::format("  {:<10} {:>10.4g}   worst {:>10.4g} at position {}{}\n", name, layer.relative_rms,
                            layer.worst, layer.worst_position, layer.layer == drift.first_jump ? "   <- jump" : "");
    }
    if (drift.first_jump >= 0) {
        text += fmt::format("the first jump is in layer {}: it adds more than four times what layers do\n",
                            drift.first_jump);
    } else {
        text += "no layer stands out\n";
    }
    if (!drift.logits) return text;
    text +=
        fmt::format("next token: KL(A || B) {:.6g} nats on average, {:.6g} at most; same first choice at {:.1f} %\n",
                    drift.mean_kl(), drift.largest_kl(), 100 * drift.same_best_share());
    return text;
}

}  // namespace

Json diff_as_json(const CheckpointDiff& diff) {
    Json tensors = Json::array();
    for (const TensorDistance& tensor : diff.tensors) tensors.push_back(tensor_as_json(tensor));
    Json json = {{"verdict", verdict_of(diff)},
                 {"a", diff.a},
                 {"b", diff.b},
                 {"suspicions", diff.suspicions()},
                 {"hyperparameters", diff.match.hyperparameters},
                 {"missing", diff.match.missing},
                 {"extra", diff.match.extra},
                 {"notes", diff.match.notes},
                 {"tensors", std::move(tensors)},
                 {"not_compared", diff.not_compared}};
    if (diff.drift) json["drift"] = drift_as_json(*diff.drift);
    if (diff.verbs) json["verbs"] = verbs_as_json(*diff.verbs);
    return json;
}

std::string diff_as_text(const CheckpointDiff& diff, bool every_tensor) {
    std::string text = fmt::format("{}\nA: {}\nB: {}\n", verdict_of(diff), diff.a, diff.b);
    if (diff.verbs && !diff.verbs->injected.empty()) text += fmt::format("injected into B: {}\n", diff.verbs->injected);
    const auto list = [&](std::string_view kind, const std::vector<std::string>& sentences) {
        for (const std::string& sentence : sentences) text += fmt::format("{}: {}\n", kind, sentence);
    };
    list("DIFFERS", diff.match.hyperparameters);
    list("DIFFERS", diff.match.missing);
    list("DIFFERS", diff.match.extra);
    list("note", diff.match.notes);
    for (const TensorDistance& tensor : diff.tensors) {
        for (const std::string& transform : tensor.pair->transforms)
            text += fmt::format("note: {}: {}\n", to_string(tensor.pair->id), transform);
    }
    for (const TensorDistance& tensor : diff.tensors) {
        for (const std::string& suspicion : tensor.suspicions) {
            text += fmt::format("SUSPICIOUS: {} ({}): {}\n", to_string(tensor.pair->id), printable(tensor.pair->b.name),
                                suspicion);
        }
    }
    text += "\n";
    text += tensors_as_text(diff, every_tensor);
    if (diff.drift) text += drift_as_text(*diff.drift);
    if (diff.verbs) text += verbs_as_text(*diff.verbs);
    list("not compared", diff.not_compared);
    text += "\n" + equality_as_text(diff);
    return text + fmt::format("{} tensors compared, {}\n", diff.tensors.size(),
                              diff.suspicions() == 0 ? std::string("0 suspicious: the formats explain every distance")
                                                     : fmt::format("{} suspicious finding{}", diff.suspicions(),
                                                                   diff.suspicions() == 1 ? "" : "s"));
}

}  // namespace invar
