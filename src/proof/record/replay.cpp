#include "proof/record/replay.h"

#include <algorithm>

#include "files/printable.h"
#include "proof/record/cache_rows.h"

namespace invar {

Forcer::Forcer(const Recording& recording, int32_t sequence, Force what) : sequence_(sequence), what_(what) {
    for (const StageRecord& stage : recording.stages) {
        if (stage.statistics.empty() && stage.elements.empty()) stages_.emplace(stage.key, &stage);
    }
}

const StageRecord* Forcer::find(const VerbCall& call, std::string_view name, int64_t width) const {
    const auto found = stages_.find({call.stage.layer, std::string(name), call.occurrence});
    return found == stages_.end() || found->second->width() != width ? nullptr : found->second;
}

void Forcer::after(const VerbCall& call) {
    if (what_ == Force::nothing) return;
    const StagesOf stages = row_of(call.verb).stages;
    if (stages == StagesOf::routing) return force_routing(call);
    if (what_ == Force::routing) return;
    if (stages == StagesOf::stored) return force_cache(call);
    force_result(call);
}

namespace {

// The index of a position in a stage; nothing if either is missing.
std::optional<int64_t> place_of(const StageRecord* stage, const BatchRow& row, int32_t sequence) {
    if (stage == nullptr || row.sequence != sequence) return std::nullopt;
    return stage->index_of(row.position);
}

}  // namespace

void Forcer::force_result(const VerbCall& call) {
    const int64_t slots = call.slots_of_row(), width = call.out.width();
    const StageRecord* stage = find(call, call.stage.name, slots * width);
    for (int64_t i = 0; i < call.rows(); ++i) {
        const auto place = place_of(stage, call.row(i), sequence_);
        if (!place) continue;
        for (int64_t slot = 0; slot < slots; ++slot) {
            float* out = call.out.host_row(i * slots + slot);
            for (int64_t e = 0; e < width; ++e) out[e] = static_cast<float>(stage->value(*place, slot * width + e));
        }
        ++forced_rows_;
    }
}

void Forcer::force_routing(const VerbCall& call) {
    const int64_t k = call.slots.experts_per_row;
    const StageRecord *ids = find(call, "expert_ids", k), *weights = find(call, "expert_weights", k),
                      *margins = find(call, "routing_margin", 1);
    for (int64_t i = 0; i < call.rows(); ++i) {
        const BatchRow& row = call.row(i);
        const auto id_place = place_of(ids, row, sequence_), weight_place = place_of(weights, row, sequence_),
                   margin_place = place_of(margins, row, sequence_);
        const int64_t experts = call.x.width();
        for (int64_t j = 0; j < k; ++j) {
            // An id that this model does not have is not forced, because it would be read past the last expert.
            if (id_place && ids->value(*id_place, j) >= 0 && ids->value(*id_place, j) < static_cast<double>(experts))
                call.slots.experts[i * k + j] = static_cast<int32_t>(ids->value(*id_place, j));
            if (weight_place) call.slots.weights[i * k + j] = static_cast<float>(weights->value(*weight_place, j));
        }
        if (margin_place) call.slots.margins[i] = static_cast<float>(margins->value(*margin_place, 0));
        forced_rows_ += id_place.has_value();
    }
}

void Forcer::force_cache(const VerbCall& call) {
    SequenceState& cache = *call.cache;
    const int layer = call.stage.layer;
    const KvGeometry& geometry = cache.layers()[static_cast<size_t>(layer)];
    const auto force = [&](const char* name, int64_t width, auto&& write) {
        const StageRecord* stage = find(call, name, geometry.kv_heads * width);
        row_.resize(static_cast<size_t>(width));
        for (int64_t i = 0; i < call.rows(); ++i) {
            const BatchRow& row = call.row(i);
            const auto place = place_of(stage, row, sequence_);
            if (!place) continue;
            for (int head = 0; head < geometry.kv_heads; ++head) {
                for (int64_t e = 0; e < width; ++e)
                    row_[static_cast<size_t>(e)] = static_cast<float>(stage->value(*place, head * width + e));
                write(cache, CachePlace{layer, row.sequence, row.position, head}, row_.data());
            }
            ++forced_rows_;
        }
    };
    force("key_stored", geometry.key_width, write_key);
    if (!geometry.values_in_keys) force("value_stored", geometry.value_width, write_value);
}

namespace {

// What the recording holds. B is recorded for no other positions and no other rows of logits.
struct Wanted {
    StageSelection selection;
    std::set<int64_t> logits;
};

Wanted wanted_of(const Recording& recording) {
    Wanted wanted;
    std::set<int64_t> positions;
    for (const StageRecord& stage : recording.stages) {
        positions.insert(stage.positions.begin(), stage.positions.end());
        if (stage.key.name == "attention_scores") wanted.selection.attention_scores = true;
        if (stage.key.layer < 0 &&
            (stage.key.name == "logits" || stage.key.name == "output_norm" || stage.key.name == "final_rows"))
            wanted.logits.insert(stage.positions.begin(), stage.positions.end());
    }
    for (const int64_t position : positions) {
        auto& ranges = wanted.selection.positions;
        if (!ranges.empty() && ranges.back().second + 1 == position) {
            ranges.back().second = position;
        } else {
            ranges.emplace_back(position, position);
        }
    }
    return wanted;
}

Result<void> run(ModelRunner& runner, const ReplayRequest& request, int32_t sequence, const std::set<int64_t>& logits,
                 std::span<VerbHook* const> hooks) {
    const std::vector<int32_t>& tokens = request.recording.tokens;
    const auto total = static_cast<int64_t>(tokens.size());
    Result<void> first_failure;
    for (int64_t done = 0; done < total;) {
        const int64_t count = std::min({request.chunk, runner.chunk(), total - done});
        Batch batch;
        for (int64_t i = 0; i < count; ++i) {
            const int64_t position = done + i;
            batch.rows.push_back(
                {.token = tokens[static_cast<size_t>(position)], .sequence = sequence, .position = position});
            if (logits.count(position) > 0) batch.logits_rows.push_back(static_cast<int32_t>(i));
        }
        // A result that is not finite does not end the replay: it was replaced, and the comparison reports it.
        TRY(reserve_rows(runner.cache(), batch));
        auto evaluated = runner.evaluate(batch, hooks);
        advance_rows(runner.cache(), batch);
        if (!evaluated && first_failure) first_failure = pass_on(std::move(evaluated));
        done += count;
    }
    return first_failure;
}

// Another file of the same model may be compared (another format of its weights, say), another model may not.
Result<void> check_model(const ModelConfig& config, const Recording& recording) {
    constexpr std::string_view kAdvice = "replay it on the model that it was recorded from";
    const auto architecture = recording.metadata.find("architecture");
    if (architecture != recording.metadata.end() && architecture->second != config.architecture) {
        return fail("the recording is of another model, of architecture '{}' and not '{}'; {}",
                    printable(architecture->second), config.architecture, kAdvice);
    }
    for (const StageRecord& stage : recording.stages) {
        if (stage.key.layer >= std::ssize(config.layers)) {
            return fail("the recording is of another model: it has layer {}, but the last layer here is {}; {}",
                        stage.key.layer, config.layers.size() - 1, kAdvice);
        }
        if (stage.key.name == "embedding" && stage.elements.empty() && stage.width() != config.width) {
            return fail("the recording is of another model: its embeddings have {} numbers, but here {}; {}",
                        stage.width(), config.width, kAdvice);
        }
    }
    return {};
}

Result<void> check(const ModelRunner& runner, const Recording& recording) {
    if (recording.tokens.empty()) return fail("the recording has no tokens, so nothing can be run on them");
    if (recording.statistics_only()) return fail("the recording has statistics only; replay needs values");
    const auto total = static_cast<int64_t>(recording.tokens.size());
    if (total > runner.context())
        return fail("the recording has {} tokens, but the context holds {}; give --context {}", total, runner.context(),
                    total);
    for (const int32_t token : recording.tokens) {
        if (token >= runner.config().vocabulary)
            return fail("the recording has token {}, but the model knows {} tokens: it is of another model", token,
                        runner.config().vocabulary);
    }
    return check_model(runner.config(), recording);
}

}  // namespace

Result<ReplayResult> replay(ModelRunner& runner, const ReplayRequest& request, const Tolerances& tolerances) {
    TRY(check(runner, request.recording));
    const Wanted wanted = wanted_of(request.recording);
    const int32_t sequence = runner.cache().add_sequence();
    Recorder recorder(runner, sequence, wanted.selection);
    Forcer forcer(request.recording, sequence, request.force);
    std::vector<VerbHook*> hooks = request.before;
    hooks.push_back(&recorder);
    hooks.push_back(&forcer);
    const Result<void> ran = run(runner, request, sequence, wanted.logits, hooks);
    runner.cache().remove_sequence(sequence);
    Recording own = recorder.take();
    own.tokens = request.recording.tokens;
    ReplayResult result;
    TRY_ASSIGN(result.comparison, compare_recordings(request.recording, own, tolerances));
    result.forced_rows = forcer.forced_rows();
    for (StageComparison& stage : result.comparison.stages) {
        if (!stage.key.name.starts_with("sampler.") || stage.outcome != StageOutcome::skipped) continue;
        stage.waived = true;
        stage.note = "no verb: a replay chooses no tokens";
    }
    // An error that shows in no compared stage (for example a token outside the vocabulary) is returned.
    if (!ran && result.comparison.failures() == 0) return tl::unexpected<Error>(ran.error());
    result.own = std::move(own);
    return result;
}

}  // namespace invar
