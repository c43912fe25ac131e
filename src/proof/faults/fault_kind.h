// The inside of fault injection: a row of the table of faults, and the two bases of faults. A RowFault rewrites
// results: it is a function from the inputs and the result of a verb to the wrong result. Faults of weights, routing
// and the cache are classes of their own.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "proof/faults/faults.h"

namespace invar {

// A fault at one verb. It is called for that verb only.
class Fault {
  public:
    virtual ~Fault() = default;
    virtual void before(VerbCall& call) {}
    virtual void after(const VerbCall& call) {}
};

// The rows of a call that a fault changes if the user names no position.
enum class FaultExtent : uint8_t {
    every_row,
    one_row,  // the first row in which the fault changes a bit, and then always that position
    onwards,  // every row from a position on, from 1 if none is named
    weights,  // the weight or the state of a recurrence is wrong, so no position can be named
};

// A result row that a fault makes wrong. With expert slots, a row is all slots of a token: [slots * width].
struct RowRewrite {
    const VerbCall& call;
    const FaultPlace& place;
    int64_t row = 0;                  // the row of the call
    std::span<const float> x;         // its row of the first input, before a verb that works in place overwrote it
    std::span<const float> x2;        // its row of the second input
    std::span<const float> previous;  // the same row of the verb's previous call; empty: there was none
    std::span<float> result;          // the verb's result, to be rewritten
    std::string& detail;              // appended to the description; may stay empty

    int64_t width() const { return call.out.width(); }  // the width of a slot
    const BatchRow& token() const { return call.row(row); }
};
using Rewrite = void (*)(const RowRewrite& row);

// Says why a fault cannot show at a position of a run; "" if it can.
using Hidden = std::string_view (*)(const VerbSite& site, int64_t position, const RunShape& shape);

namespace fault_part {  // the set of parts that a specification may name beside layer and stage
inline constexpr unsigned position = 1, slot = 2, row = 4, block = 8, bit = 16, element = 32, role = 64;
}

struct FaultKind {
    std::string_view name, meaning, where;
    FaultExtent extent = FaultExtent::every_row;
    unsigned parts = fault_part::position;
    bool (*fits)(const VerbSite& site) = nullptr;
    Rewrite rewrite = nullptr;  // nullptr: `make` makes a class of its own
    std::unique_ptr<Fault> (*make)(const FaultPlace& place, FaultReport& report) = nullptr;
    Hidden hidden = nullptr;       // nullptr: the fault shows everywhere
    bool needs_two_pages = false;  // it shows only if the cache has two pages
    bool needs_scales = false;     // it fits only a model with a matrix of a quantised format
    bool prefers_last = false;     // the default place is the last one instead of the middle one
};
std::span<const FaultKind> all_faults();  // fault_kinds.cpp
const FaultKind* find_fault(std::string_view name);
// The verbs of a model that the fault fits.
std::vector<const VerbSite*> fitting_sites(const FaultKind& kind, std::span<const VerbSite> sites);

// Reports a place where the fault changed a bit. The first call sets the place; later calls only count rows.
void note_strike(FaultReport& report, const StageKey& stage, int64_t position, int64_t element,
                 const std::string& detail);
// The first element whose bits differ; -1: none.
int64_t first_difference(std::span<const float> a, std::span<const float> b);

// Decides which positions a fault changes, and remembers it from pass to pass.
class StruckRows {
  public:
    explicit StruckRows(const FaultPlace& place);
    bool wants(int64_t position) const;
    void struck(int64_t position);  // with one_row, this becomes the only position

  private:
    FaultExtent extent_;
    std::optional<int64_t> position_;
};

std::unique_ptr<Fault> make_row_fault(const FaultPlace& place, FaultReport& report);

// ---- the faults, by the part of the engine they concern

namespace faults {

// fault_rows.cpp: norms, biases, rope, activations, residuals, rows
void skip_norm(const RowRewrite& row);
void offset_norm(const RowRewrite& row);
void change_epsilon(const RowRewrite& row);
void norm_without_weight(const RowRewrite& row);
void norm_without_one(const RowRewrite& row);
void leave_out(const RowRewrite& row);
void turn_one_further(const RowRewrite& row);
void turn_twice(const RowRewrite& row);
void pair_otherwise(const RowRewrite& row);
void inflate_turn(const RowRewrite& row);
void swap_gate_and_up(const RowRewrite& row);
void use_other_activation(const RowRewrite& row);
void leave_out_clamp(const RowRewrite& row);
void leave_out_gate(const RowRewrite& row);
void add_bias_unweighted(const RowRewrite& row);
void add_twice(const RowRewrite& row);
void lose_residual(const RowRewrite& row);
void take_next_token(const RowRewrite& row);
void take_next_position(const RowRewrite& row);
void take_row_before(const RowRewrite& row);
void keep_previous_pass(const RowRewrite& row);
void take_neighbour(const RowRewrite& row);
void drop_expert_from_sum(const RowRewrite& row);

// fault_products.cpp
void sum_naively(const RowRewrite& row);
void quantize_by_256(const RowRewrite& row);
void keep_activations_float(const RowRewrite& row);
void multiply_by_next_expert(const RowRewrite& row);

// fault_attention.cpp
void swap_key_heads(const RowRewrite& row);
void tile_key_heads(const RowRewrite& row);
void hide_last_position(const RowRewrite& row);
void show_future(const RowRewrite& row);
void hide_future(const RowRewrite& row);
void leave_out_scale(const RowRewrite& row);
void leave_out_sinks(const RowRewrite& row);
void leave_out_softcap(const RowRewrite& row);
void read_before_store(const RowRewrite& row);
void read_other_page(const RowRewrite& row);
void read_other_layer(const RowRewrite& row);
std::unique_ptr<Fault> swap_stored_heads(const FaultPlace& place, FaultReport& report);
std::unique_ptr<Fault> truncate_stored(const FaultPlace& place, FaultReport& report);

// fault_routing.cpp
std::unique_ptr<Fault> route_wrongly(const FaultPlace& place, FaultReport& report);

// fault_recurrence.cpp
std::unique_ptr<Fault> recur_wrongly(const FaultPlace& place, FaultReport& report);

// fault_weights.cpp
std::unique_ptr<Fault> flip_bit(const FaultPlace& place, FaultReport& report);
std::unique_ptr<Fault> swap_scales(const FaultPlace& place, FaultReport& report);
std::unique_ptr<Fault> poison_row(const FaultPlace& place, FaultReport& report);

// fault_whole_weights.cpp
std::unique_ptr<Fault> zero_weight(const FaultPlace& place, FaultReport& report);
std::unique_ptr<Fault> invert_scale(const FaultPlace& place, FaultReport& report);
std::unique_ptr<Fault> poison_scale(const FaultPlace& place, FaultReport& report);

// fault_nan.cpp
std::unique_ptr<Fault> make_nan(const FaultPlace& place, FaultReport& report);

}  // namespace faults
}  // namespace invar
