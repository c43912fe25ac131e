#include "proof/diff/diff_verdict.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/json.h"
#include "files/printable.h"

namespace invar {
namespace {

std::string distance_text(double distance) {
    return std::isfinite(distance) ? fmt::format("{:.3g}", distance) : std::string("infinitely");
}

std::string wrong_verb(const VerbReport& report) {
    const VerbDistance& first = report.verbs[*report.first];
    std::string text = fmt::format(
        "{} ({}) is the first verb that is wrong in B: on the inputs it had in A, its "
        "result is {} off, where {:.2g} is explained",
        to_string(first.stage), first.verb, distance_text(first.relative_rms), first.explained);
    if (!report.weight_suspicion.empty()) {
        text += fmt::format("; likely cause: {}: {}", first.weight ? to_string(*first.weight) : "its weight",
                            report.weight_suspicion);
    } else if (report.cause) {
        const bool of_b = !report.injected.empty();
        text += fmt::format("; likely cause: {} computes {}", of_b ? "B" : "A", to_string(*report.cause));
    }
    return text;
}

std::string same_model(const CheckpointDiff& diff) {
    const auto equal = std::count_if(diff.tensors.begin(), diff.tensors.end(),
                                     [](const TensorDistance& tensor) { return tensor.equal_bits; });
    const auto count = std::ssize(diff.tensors);
    if (equal == count && diff.drift && diff.drift->equal_bits()) {
        return fmt::format("the same model: all {} tensors and all {} of {} tokens are equal to the bit", count,
                           diff.drift->logits ? "logits" : "residual streams", diff.drift->positions.size());
    }
    std::string text = fmt::format(
        "the same model: {} tensors correspond, {} of them to the bit, and the formats "
        "explain every distance",
        count, equal);
    if (diff.verbs) text += fmt::format(", also those of all {} stages of a run", diff.verbs->verbs.size());
    return text;
}

// The first thing that is wrong, as a reader would look for it: hyper-parameters, tensors, weights, verbs.
std::string other_model(const CheckpointDiff& diff) {
    const CheckpointMatch& match = diff.match;
    for (const auto* sentences : {&match.hyperparameters, &match.missing, &match.extra}) {
        if (!sentences->empty()) return sentences->front();
    }
    for (const TensorDistance& tensor : diff.tensors) {
        if (tensor.suspicions.empty()) continue;
        return fmt::format("{} ({}): {}", to_string(tensor.pair->id), printable(tensor.pair->b.name),
                           tensor.suspicions.front());
    }
    return wrong_verb(*diff.verbs);
}

}  // namespace

std::string verdict_of(const CheckpointDiff& diff) {
    const int64_t found = diff.suspicions();
    if (found == 0) return same_model(diff);
    return fmt::format("not the same model: {}{}", other_model(diff),
                       found == 1 ? "" : fmt::format(" (the first of {} findings)", found));
}

std::string verbs_as_text(const VerbReport& report) {
    std::string text =
        fmt::format("\neach verb of B on the inputs it had in A, {} tokens: rms(A - B) / rms(A)\n", report.positions);
    if (report.equal()) return text + fmt::format("  all {} stages are equal to the bit\n", report.verbs.size());
    std::vector<std::string> order;
    std::map<std::string, const VerbDistance*> farthest;
    const auto beyond = [](const VerbDistance& verb) { return verb.relative_rms - verb.explained; };
    int64_t equal = 0;
    for (const VerbDistance& verb : report.verbs) {
        equal += verb.relative_rms == 0;
        if (verb.relative_rms == 0) continue;
        const auto [place, added] = farthest.emplace(verb.stage.name, &verb);
        if (added) order.push_back(verb.stage.name);
        if (beyond(verb) > beyond(*place->second)) place->second = &verb;
    }
    text += fmt::format("  {:<28} {:<5} {:>10} {:>10}\n", "farthest of each stage", "layer", "distance", "explained");
    for (const std::string& name : order) {
        const VerbDistance& verb = *farthest[name];
        text += fmt::format("  {:<28} {:<5} {:>10.3g} {:>10.3g}{}\n", name,
                            verb.stage.layer < 0 ? "-" : std::to_string(verb.stage.layer), verb.relative_rms,
                            verb.explained, verb.suspicious ? "   <- wrong" : "");
    }
    return text + fmt::format("  the other {} stages of {} are equal to the bit\n", equal, report.verbs.size());
}

Json verbs_as_json(const VerbReport& report) {
    const auto finite = [](double number) { return std::isfinite(number) ? Json(number) : Json(nullptr); };
    Json verbs = Json::array();
    for (const VerbDistance& verb : report.verbs) {
        verbs.push_back({{"stage", to_string(verb.stage)},
                         {"verb", verb.verb},
                         {"relative_rms", finite(verb.relative_rms)},
                         {"explained", verb.explained},
                         {"suspicious", verb.suspicious}});
    }
    Json json = {{"positions", report.positions}, {"stages", std::move(verbs)}};
    json["first"] = report.first ? Json(to_string(report.verbs[*report.first].stage)) : Json(nullptr);
    if (!report.injected.empty()) json["injected"] = report.injected;
    if (report.cause) {
        json["cause"] = {{"fault", report.cause->fault},
                         {"meaning", report.cause->meaning},
                         {"exact", report.cause->exact},
                         {"distance", report.cause->distance}};
    }
    return json;
}

}  // namespace invar
