// Every verb in one table: its inputs and results, the machine it runs on, the law it equals, and its cost. All code
// that deals with verbs in general reads this table: names, observers, the split between machines, the survey,
// recordings. One call of a verb is in verb_call.h; a backend (cpu/, cuda/) computes it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

#include "base/check.h"

namespace invar {

struct VerbCall;

enum class Verb : uint8_t {
    embed,
    rms_norm,
    linear,
    add_bias,
    rope,
    store_kv,
    attention,
    activate,
    add,
    route,
    expert_linear,
    combine_experts,
    gather_rows,
    scale,
    scale_by_position,
    multiply,
    softcap,
    l2_norm,
    layer_norm,
    gate_rows,
    copy,
    add_slot_bias,
    head_linear,
    causal_convolution,
    delta_rule,
    state_space,
    weigh_slots,
    count,  // the number of verbs, not a verb
};
inline constexpr size_t kVerbs = static_cast<size_t>(Verb::count);

// The fields of a VerbCall that a verb reads or makes, as bits to be added.
namespace verb_field {
inline constexpr uint8_t x = 1, x2 = 2, out = 4;
inline constexpr uint8_t experts = 8, weights = 16, slots = 32;  // parts of the slots: expert ids; weights; all
inline constexpr uint8_t cache = 64;
}  // namespace verb_field

// The operand that decides on which machine a call runs when a model is split over several.
enum class PlacedBy : uint8_t { weight, cache, data };

// The stages that a recording has of a call (proof/record/recorder.h).
enum class StagesOf : uint8_t {
    result /* `out` */,
    routing /* the slots, and the softmax of x */,
    stored /* the cache */
};

// The least that one call must read, write and compute. Bytes are those of the stored form, each counted once.
struct VerbCost {
    int64_t weight_bytes = 0;      // of its matrix or vector; of a table, those of the rows looked up
    int64_t expert_bytes = 0;      // of one expert of its stack; the routing decides how many are read
    int64_t cache_bytes = 0;       // of keys and values, read or stored
    int64_t state_bytes = 0;       // of recurrences, read; as many are written
    int64_t activation_bytes = 0;  // inputs and results
    int64_t multiply_adds = 0;
};
// The general case: x, x2 and out, and a vector if there is one.
VerbCost cost_of_rows(const VerbCall& call);
VerbCost cost_of_embed(const VerbCall& call);
VerbCost cost_of_linear(const VerbCall& call);
VerbCost cost_of_store(const VerbCall& call);
VerbCost cost_of_attention(const VerbCall& call);
VerbCost cost_of_expert_linear(const VerbCall& call);
VerbCost cost_of_head_linear(const VerbCall& call);
VerbCost cost_of_convolution(const VerbCall& call);
VerbCost cost_of_recurrence(const VerbCall& call);

struct VerbRow {
    Verb verb = Verb::count;
    std::string_view name;  // as in the enum and in Ops
    std::string_view law;   // what it equals bit for bit, and the file that defines that
    uint8_t inputs = 0;     // verb_field
    uint8_t results = 0;    // verb_field; a verb that has both x and out here works in place: out is also x
    PlacedBy placed_by = PlacedBy::data;
    StagesOf stages = StagesOf::result;
    VerbCost (*cost)(const VerbCall& call) = cost_of_rows;

    constexpr bool reads(uint8_t field) const { return (inputs & field) != 0; }
    constexpr bool makes(uint8_t field) const { return (results & field) != 0; }
    constexpr bool in_place() const { return makes(verb_field::x); }
};

namespace verb_field {
inline constexpr std::array<VerbRow, kVerbs> kTable = {{
    {.verb = Verb::embed,
     .name = "embed",
     .law = "Format::decode (formats/format.h)",
     .inputs = 0,
     .results = out,
     .placed_by = PlacedBy::weight,
     .cost = cost_of_embed},
    {.verb = Verb::rms_norm,
     .name = "rms_norm",
     .law = "law::rms_norm (arithmetic/norm.h)",
     .inputs = x,
     .results = out,
     .placed_by = PlacedBy::weight},
    {.verb = Verb::linear,
     .name = "linear",
     .law = "dot_quantized, dot_float (formats/format.h)",
     .inputs = x,
     .results = out,
     .placed_by = PlacedBy::weight,
     .cost = cost_of_linear},
    {.verb = Verb::add_bias,
     .name = "add_bias",
     .law = "one addition an element",
     .inputs = x,
     .results = x | out,
     .placed_by = PlacedBy::weight},
    {.verb = Verb::rope, .name = "rope", .law = "law::rope (arithmetic/rope.h)", .inputs = x, .results = x | out},
    {.verb = Verb::store_kv,
     .name = "store_kv",
     .law = "f32_to_f16, f32_to_bf16 (arithmetic/float_types.h)",
     .inputs = x | x2,
     .results = cache,
     .placed_by = PlacedBy::cache,
     .stages = StagesOf::stored,
     .cost = cost_of_store},
    {.verb = Verb::attention,
     .name = "attention",
     .law = "law::attention_head (arithmetic/attention.h)",
     .inputs = x | cache,
     .results = out,
     .placed_by = PlacedBy::cache,
     .cost = cost_of_attention},
    {.verb = Verb::activate,
     .name = "activate",
     .law = "law::activate (arithmetic/activation.h)",
     .inputs = x | x2,
     .results = out},
    {.verb = Verb::add, .name = "add", .law = "one addition an element", .inputs = x | x2, .results = x | out},
    {.verb = Verb::route,
     .name = "route",
     .law = "law::softmax (arithmetic/softmax.h), law::top_k and law::renormalise (arithmetic/routing.h)",
     .inputs = x,
     .results = slots,
     .stages = StagesOf::routing},
    {.verb = Verb::expert_linear,
     .name = "expert_linear",
     .law = "dot_quantized, dot_float (formats/format.h)",
     .inputs = x | experts,
     .results = out,
     .placed_by = PlacedBy::weight,
     .cost = cost_of_expert_linear},
    {.verb = Verb::combine_experts,
     .name = "combine_experts",
     .law = "fma in rank order from +0",
     .inputs = x | weights,
     .results = out},
    {.verb = Verb::gather_rows, .name = "gather_rows", .law = "a copy", .inputs = x, .results = out},
    {.verb = Verb::scale, .name = "scale", .law = "one product an element", .inputs = x, .results = x | out},
    {.verb = Verb::scale_by_position,
     .name = "scale_by_position",
     .law = "law::position_scale (arithmetic/rope.h), one product an element",
     .inputs = x,
     .results = x | out},
    {.verb = Verb::multiply,
     .name = "multiply",
     .law = "one product an element",
     .inputs = x,
     .results = x | out,
     .placed_by = PlacedBy::weight},
    {.verb = Verb::softcap,
     .name = "softcap",
     .law = "law::softcap (arithmetic/activation.h)",
     .inputs = x,
     .results = x | out},
    {.verb = Verb::l2_norm, .name = "l2_norm", .law = "law::l2_norm (arithmetic/norm.h)", .inputs = x, .results = out},
    {.verb = Verb::layer_norm,
     .name = "layer_norm",
     .law = "law::layer_norm (arithmetic/norm.h)",
     .inputs = x,
     .results = out,
     .placed_by = PlacedBy::weight},
    {.verb = Verb::gate_rows,
     .name = "gate_rows",
     .law = "law::sigmoid of the row's gate (arithmetic/elementary.h), one product an element",
     .inputs = x | x2,
     .results = x | out},
    {.verb = Verb::copy, .name = "copy", .law = "a copy", .inputs = x, .results = out},
    {.verb = Verb::add_slot_bias,
     .name = "add_slot_bias",
     .law = "one addition an element",
     .inputs = x | experts,
     .results = x | out,
     .placed_by = PlacedBy::weight},
    {.verb = Verb::head_linear,
     .name = "head_linear",
     .law = "dot_quantized, dot_float (formats/format.h)",
     .inputs = x,
     .results = out,
     .placed_by = PlacedBy::weight,
     .cost = cost_of_head_linear},
    {.verb = Verb::causal_convolution,
     .name = "causal_convolution",
     .law = "law::causal_convolution (arithmetic/recurrence.h), then law::activate",
     .inputs = x,
     .results = out | cache,
     .placed_by = PlacedBy::cache,
     .cost = cost_of_convolution},
    {.verb = Verb::delta_rule,
     .name = "delta_rule",
     .law = "law::decay, law::sigmoid and law::delta_step (arithmetic/recurrence.h)",
     .inputs = x | x2,
     .results = out | cache,
     .placed_by = PlacedBy::cache,
     .cost = cost_of_recurrence},
    {.verb = Verb::state_space,
     .name = "state_space",
     .law = "law::decay and law::state_space_step (arithmetic/recurrence.h)",
     .inputs = x | x2,
     .results = out | cache,
     .placed_by = PlacedBy::cache,
     .cost = cost_of_recurrence},
    {.verb = Verb::weigh_slots,
     .name = "weigh_slots",
     .law = "one product an element",
     .inputs = x | weights,
     .results = out},
}};
constexpr bool table_is_in_order() {
    for (size_t i = 0; i < kVerbs; ++i)
        if (kTable[i].verb != static_cast<Verb>(i)) return false;
    return true;
}
static_assert(table_is_in_order(), "a row for each verb, in the order of the enum");
}  // namespace verb_field

inline std::span<const VerbRow> verbs() { return verb_field::kTable; }
inline const VerbRow& row_of(Verb verb) { return verb_field::kTable[static_cast<size_t>(verb)]; }
inline std::string_view verb_name(Verb verb) { return row_of(verb).name; }
inline VerbCost cost_of(Verb verb, const VerbCall& call) { return row_of(verb).cost(call); }

// A backend's bodies by verb, collected from the lists that stand beside the bodies. Body has a member `verb`.
template <class Body>
class VerbTable {
  public:
    explicit VerbTable(std::initializer_list<std::span<const Body>> lists) {
        for (const std::span<const Body> list : lists) {
            for (const Body& body : list) {
                const Body*& place = bodies_[static_cast<size_t>(body.verb)];
                CHECK(place == nullptr, "a backend has one body for a verb");
                place = &body;
            }
        }
    }
    const Body* find(Verb verb) const { return bodies_[static_cast<size_t>(verb)]; }  // nullptr: the backend has none

  private:
    std::array<const Body*, kVerbs> bodies_{};
};

}  // namespace invar
