// Faults of recurrences and of the convolutions before them. All rows of a call are computed again by the definition,
// one position after the other, with one thing wrong; the wrong state stays in the sequence, as it would in an engine
// with that fault.
#include <algorithm>
#include <map>

#include "arithmetic/elementary.h"
#include "arithmetic/recurrence.h"
#include "proof/faults/fault_kind.h"

namespace invar::faults {
namespace {

// A call with what the definition computes it from. Faults change the copy.
struct Recurrence {
    const VerbCall& call;
    RecurrenceHeads heads = call.recurrence->heads;
    std::vector<float> taps;  // of a convolution, [channels][taps]
    explicit Recurrence(const VerbCall& of) : call(of) {
        if (call.verb == Verb::causal_convolution)
            taps.assign(call.vector->data, call.vector->data + call.vector->size);
    }

    // Advances the state by one row and gives its results.
    void step(int64_t row, std::vector<float>& state, float* out) const {
        if (call.verb == Verb::causal_convolution) return convolve(row, state, out);
        for (int head = 0; head < heads.value_heads; ++head) step_head(row, head, state.data(), out);
    }

  private:
    void convolve(int64_t row, std::vector<float>& state, float* out) const {
        const int64_t channels = call.x.width();
        const int count = call.recurrence->taps;
        const float* x = call.x.host_row(row);
        std::vector<float> columns(state.begin() + heads.state_elements(), state.end());  // the oldest first
        columns.insert(columns.end(), x, x + channels);
        for (int64_t c = 0; c < channels; ++c) {
            std::vector<float> inputs;
            for (int k = 0; k < count; ++k) inputs.push_back(columns[static_cast<size_t>(k * channels + c)]);
            const float bias = call.vector2 == nullptr ? 0.0f : call.vector2->data[c];
            const float s = law::causal_convolution(taps.data() + c * count, inputs.data(), count, bias);
            out[c] = law::activate({.kind = call.recurrence->activation}, s);
        }
        std::copy(columns.begin() + channels, columns.end(), state.begin() + heads.state_elements());
    }

    void step_head(int64_t row, int head, float* states, float* results) const {
        const int64_t keys = int64_t{heads.key_heads} * heads.key_width;
        const int64_t values = int64_t{heads.value_heads} * heads.value_width;
        const int64_t key = int64_t{heads.key_head_of(head)} * heads.key_width;
        const float *x = call.x.host_row(row), *gates = call.x2.host_row(row);
        const float a = call.vector->data[head], bias = call.vector2->data[head];
        const float decay = law::decay(a, gates[head], bias);
        float* state = states + int64_t{head} * heads.key_width * heads.value_width;
        const int64_t value = int64_t{head} * heads.value_width;
        if (call.verb == Verb::delta_rule) {
            const float beta = law::sigmoid(gates[heads.value_heads + head]);
            law::delta_step(x + key, x + keys + key, x + 2 * keys + value, decay, beta, heads.key_width,
                            heads.value_width, state, results + value);
        } else {
            law::state_space_step(x + values + keys + key, x + values + key, x + value, decay,
                                  law::softplus(gates[head] + bias), call.vector3->data[head], heads.key_width,
                                  heads.value_width, state, results + value);
        }
    }
};

enum class Wrong : uint8_t { kept, advanced, heads, taps };
constexpr std::pair<std::string_view, Wrong> kWrongs[] = {{"kept_state", Wrong::kept},
                                                          {"state_one_late", Wrong::advanced},
                                                          {"misordered_value_heads", Wrong::heads},
                                                          {"reversed_taps", Wrong::taps}};

class RecurrenceFault final : public Fault {
  public:
    RecurrenceFault(const FaultPlace& place, FaultReport& report)
        : place_(place), report_(report), position_(place.spec.position.value_or(1)) {
        for (const auto& [name, wrong] : kWrongs) {
            if (name == place.kind->name) wrong_ = wrong;
        }
    }

    void before(VerbCall& call) override {
        states_.clear();
        for (const BatchRow& row : call.batch->rows) {
            const std::span<const float> state = call.cache->recurrence(row.sequence, call.recurrence->layer);
            states_.try_emplace(row.sequence, state.begin(), state.end());
        }
    }

    void after(const VerbCall& call) override {
        Recurrence recurrence(call);
        if (wrong_ == Wrong::heads) recurrence.heads.interleaved = !recurrence.heads.interleaved;
        if (wrong_ == Wrong::taps) reverse(recurrence.taps, call.recurrence->taps);
        for (auto& [sequence, state] : states_) run_sequence(recurrence, sequence, state);
    }

  private:
    static void reverse(std::vector<float>& taps, int count) {
        for (auto channel = taps.begin(); channel != taps.end(); channel += count)
            std::reverse(channel, channel + count);
    }

    void run_sequence(const Recurrence& recurrence, int32_t sequence, std::vector<float>& state) {
        const VerbCall& call = recurrence.call;
        std::vector<int64_t> rows;
        for (int64_t row = 0; row < call.rows(); ++row) {
            if (call.row(row).sequence == sequence) rows.push_back(row);
        }
        std::vector<float> wrong(static_cast<size_t>(call.out.width()));
        if (wrong_ == Wrong::kept && call.row(rows.front()).position == 0) {
            for (const int64_t row : rows) recurrence.step(row, state, wrong.data());
        }
        for (const int64_t row : rows) {
            const int64_t position = call.row(row).position;
            if (wrong_ == Wrong::advanced && position == position_) recurrence.step(row, state, wrong.data());
            recurrence.step(row, state, wrong.data());
            float* right = call.out.host_row(row);
            const int64_t element = first_difference({right, wrong.size()}, wrong);
            if (element >= 0) note_strike(report_, place_.site.key, position, element, "");
            std::copy(wrong.begin(), wrong.end(), right);
        }
        const std::span<float> memory = call.cache->recurrence(sequence, call.recurrence->layer);
        std::copy(state.begin(), state.end(), memory.begin());
    }

    const FaultPlace& place_;
    FaultReport& report_;
    int64_t position_;
    Wrong wrong_ = Wrong::kept;
    std::map<int32_t, std::vector<float>> states_;  // by sequence, before the call
};

}  // namespace

std::unique_ptr<Fault> recur_wrongly(const FaultPlace& place, FaultReport& report) {
    return std::make_unique<RecurrenceFault>(place, report);
}

}  // namespace invar::faults
