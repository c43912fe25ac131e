// The hook that fills a recording. Each stage is recorded as it was computed. Some verbs have several results and so
// several stages: route -> expert_ids (i32), expert_weights, routing_margin, router_probabilities; store_kv ->
// key_stored, value_stored (unless values lie in keys), read back from the cache. On request also attention ->
// attention_scores. Files are written in recording_file.h and compared in compare_recordings.h.
#pragma once

#include <functional>
#include <map>
#include <optional>

#include "proof/record/model_runner.h"
#include "proof/record/recording.h"

namespace invar {

// Selects stages, layers and positions. The default is everything but attention scores.
struct StageSelection {
    std::vector<std::string> stages;                     // glob patterns of stage names ("attention*"); empty: all
    std::vector<std::pair<int, int>> layers;             // first .. last; empty: all, and what is outside the layers
    std::vector<std::pair<int64_t, int64_t>> positions;  // first .. last; empty: all
    bool attention_scores = false;

    bool wants_stage(int layer, std::string_view name) const;
    bool wants_position(int64_t position) const;
};

// One result of a verb call at one position. The values are valid during the call of the sink. One pointer is set.
struct StageRow {
    StageKey key;
    const VerbCall* call = nullptr;
    int32_t sequence = 0;
    int64_t position = 0;
    int64_t slots = 1, width = 0;  // [slots, width]; slots > 1 for expert stages
    const float* f32 = nullptr;    // [slots * width]
    const double* f64 = nullptr;
    const int32_t* i32 = nullptr;
};
// [slots, width] for expert stages and attention scores, otherwise [width].
std::vector<int64_t> shape_of(const StageRow& row);
// How many values all stages of a call have together, without attention scores.
int64_t values_recorded(const VerbCall& call);
using StageRowSink = std::function<void(const StageRow& row)>;

// Calls the sink for every row of every selected stage of a call.
class StageRows final : public VerbHook {
  public:
    StageRows(const ModelRunner& runner, StageSelection selection, StageRowSink sink)
        : runner_(runner), selection_(std::move(selection)), sink_(std::move(sink)) {}
    Looks looks() const override { return Looks::at_results; }
    void after(const VerbCall& call) override;

  private:
    void rows_of_result(const VerbCall& call);
    void rows_of_routing(const VerbCall& call);
    void rows_of_cache(const VerbCall& call);
    void rows_of_scores(const VerbCall& call);
    void emit(StageRow row);

    const ModelRunner& runner_;
    StageSelection selection_;
    StageRowSink sink_;
    std::vector<float> values_;
    std::vector<double> wide_values_;
};

// Collects the rows of one sequence.
class Recorder final : public VerbHook {
  public:
    Recorder(const ModelRunner& runner, int32_t sequence, StageSelection selection);
    void begin_pass() override { rows_.begin_pass(); }
    Looks looks() const override { return Looks::at_results; }
    void after(const VerbCall& call) override { rows_.after(call); }

    int64_t bytes() const { return bytes_; }  // of the values so far
    // Gives the stages in forward order. If a position was computed again (after a truncation), the later values count.
    Recording take();

  private:
    void add(const StageRow& row);

    const ModelRunner& runner_;
    int32_t sequence_;
    StageRows rows_;
    std::vector<StageRecord> stages_;
    std::map<StageKey, size_t> places_;
    std::vector<std::byte> padded_;
    int64_t bytes_ = 0;
};

}  // namespace invar
