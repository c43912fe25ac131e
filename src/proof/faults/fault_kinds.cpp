// The table of faults: what each is, where it fits, and where it cannot show. Each is a fault that some engine had, or
// one that a comparison by cosine would miss. A new fault is a row here and a function in one of the fault_*.cpp.
#include <algorithm>

#include "proof/faults/fault_kind.h"

namespace invar {
namespace {

using namespace faults;
using enum FaultExtent;
constexpr unsigned kPosition = fault_part::position, kSlot = fault_part::slot, kRow = fault_part::row,
                   kBlock = fault_part::block, kBit = fault_part::bit, kElement = fault_part::element,
                   kRole = fault_part::role;

// ---- where a fault fits

bool is_norm(const VerbSite& site) {
    return site.verb == Verb::rms_norm || site.verb == Verb::l2_norm || site.verb == Verb::layer_norm;
}
bool is_weighted_norm(const VerbSite& site) { return is_norm(site) && site.has_vector(); }
bool is_bias(const VerbSite& site) { return site.verb == Verb::add_bias; }
bool is_rope(const VerbSite& site) { return site.verb == Verb::rope; }
bool is_activation(const VerbSite& site) { return site.verb == Verb::activate; }
bool is_gated(const VerbSite& site) { return is_activation(site) && site.second_width > 0; }
// A product of two operands, without a function of the first, is the same if they change places.
bool has_order(const VerbSite& site) { return is_gated(site) && site.activation->kind != Activation::identity; }
bool is_clamped(const VerbSite& site) {
    return is_activation(site) && site.activation->kind == Activation::clamped_swiglu;
}
bool is_gate(const VerbSite& site) {
    return site.verb == Verb::gate_rows || (is_gated(site) && (site.activation->kind == Activation::sigmoid ||
                                                               site.activation->kind == Activation::identity));
}
bool is_vector_product(const VerbSite& site) { return site.verb == Verb::multiply; }
bool is_scale(const VerbSite& site) { return site.verb == Verb::scale && site.factor != 1; }
bool is_softcap(const VerbSite& site) { return site.verb == Verb::softcap; }
bool is_temperature(const VerbSite& site) { return site.verb == Verb::scale_by_position; }
bool is_expert_bias(const VerbSite& site) { return site.verb == Verb::add_slot_bias; }
bool is_last_expert_bias(const VerbSite& site) { return is_expert_bias(site) && site.key.name == "expert_down_biased"; }
bool is_convolution(const VerbSite& site) { return site.verb == Verb::causal_convolution; }
bool recurs(const VerbSite& site) { return site.recurrence.has_value(); }
bool has_value_groups(const VerbSite& site) {
    return recurs(site) && !is_convolution(site) && site.recurrence->key_heads > 1 &&
           site.recurrence->value_heads > site.recurrence->key_heads;
}
bool is_residual(const VerbSite& site) { return site.verb == Verb::add; }
bool is_embedding(const VerbSite& site) { return site.verb == Verb::embed && site.table_row == TableRow::token; }
bool is_learned_position(const VerbSite& site) {
    return site.verb == Verb::embed && site.table_row == TableRow::position && site.rows > 1;
}
bool is_gather(const VerbSite& site) { return site.verb == Verb::gather_rows; }
bool is_attention(const VerbSite& site) { return site.verb == Verb::attention; }
bool sees_both_ways(const VerbSite& site) { return is_attention(site) && site.reach == Reach::both_ways; }
bool sees_the_past(const VerbSite& site) { return is_attention(site) && !sees_both_ways(site); }
bool is_product(const VerbSite& site) { return site.is_product(); }
bool is_quantized_product(const VerbSite& site) { return site.is_product() && !site.format->is_float; }
bool is_matrix(const VerbSite& site) { return site.format != nullptr; }
bool has_scales(const VerbSite& site) {
    // A scale can be swapped only if the row has two: blocks with one scale have at most 32 columns.
    return site.format != nullptr && !site.format->is_float && site.columns > 32;
}
bool has_key_heads(const VerbSite& site) { return is_attention(site) && site.kv_heads >= 2; }
bool has_groups(const VerbSite& site) { return has_key_heads(site) && site.heads > site.kv_heads; }
bool stores_heads(const VerbSite& site) { return site.verb == Verb::store_kv && site.kv_heads >= 2; }
bool swaps_heads(const VerbSite& site) { return has_key_heads(site) || stores_heads(site); }
bool stores_halves(const VerbSite& site) { return site.verb == Verb::store_kv && site.cache_type != CacheType::f32; }
bool has_sinks(const VerbSite& site) { return is_attention(site) && site.has_vector(); }
bool shares_cache(const VerbSite& site) { return is_attention(site) && site.other_layer >= 0; }
bool has_softcap(const VerbSite& site) { return is_attention(site) && site.softcap > 0; }
bool is_route(const VerbSite& site) { return site.verb == Verb::route; }
bool routes_some(const VerbSite& site) { return is_route(site) && site.experts_per_row < site.routed; }
bool routes_several(const VerbSite& site) { return is_route(site) && site.experts_per_row >= 2; }
bool renormalises(const VerbSite& site) { return routes_some(site) && site.route->renormalise; }
bool selects_with_bias(const VerbSite& site) {
    return is_route(site) && site.has_vector() && site.route->scoring != RouteSpec::Scoring::softmax_of_chosen;
}
bool routes_in_groups(const VerbSite& site) { return is_route(site) && site.route->groups > site.route->groups_used; }
bool has_route_factor(const VerbSite& site) { return is_route(site) && site.route->factor != 1; }
bool chooses_expert(const VerbSite& site) {
    return routes_some(site) || (site.verb == Verb::expert_linear && site.experts >= 2);
}
bool weighs_expert(const VerbSite& site) { return is_route(site) || site.verb == Verb::combine_experts; }
bool makes_rows(const VerbSite& site) { return site.width > 0; }
bool keeps_nan(const VerbSite& site) {  // of a NaN, relu makes 0
    return !is_activation(site) || site.activation->kind != Activation::relu_squared;
}

// ---- where it cannot show

std::string_view at_position_0(std::string_view reason, int64_t position) { return position == 0 ? reason : ""; }
std::string_view without_turn(const VerbSite&, int64_t position, const RunShape&) {
    return at_position_0("position 0 is turned by an angle of 0", position);
}
std::string_view below_first_length(const VerbSite& site, int64_t position, const RunShape&) {
    return position + site.position_scale->offset < site.position_scale->length ? "the factor of an early position is 1"
                                                                                : "";
}
std::string_view alone(const VerbSite&, int64_t position, const RunShape&) {
    return at_position_0("position 0 sees one position, whose weight is 1", position);
}
std::string_view without_earlier_page(const VerbSite&, int64_t position, const RunShape&) {
    return position < kPagePositions ? "the first page of a sequence has none before it" : "";
}
std::string_view without_future(const VerbSite&, int64_t position, const RunShape& shape) {
    return position + 1 >= shape.prompt ? "the next position is not computed yet" : "";
}
std::string_view without_neighbour(const VerbSite& site, int64_t position, const RunShape& shape) {
    if (position >= shape.prompt || site.wanted_rows_only) return "the pass has one row here";
    return at_position_0("the first row of a pass has none before it", position);
}
std::string_view without_row_before(const VerbSite&, int64_t position, const RunShape& shape) {
    return position >= shape.prompt ? "the pass has one row" : "";
}
std::string_view without_previous_pass(const VerbSite&, int64_t position, const RunShape& shape) {
    return position < shape.prompt ? "no pass came before the prompt's" : "";
}

std::unique_ptr<Fault> swap_heads(const FaultPlace& place, FaultReport& report) {
    return place.site.verb == Verb::store_kv ? swap_stored_heads(place, report) : make_row_fault(place, report);
}
std::unique_ptr<Fault> take_wrong_expert(const FaultPlace& place, FaultReport& report) {
    return place.site.verb == Verb::route ? route_wrongly(place, report) : make_row_fault(place, report);
}

constexpr FaultKind kKinds[] = {
    // experts
    {"wrong_expert", "another expert is computed than the one chosen",
     "routing; or one product of the experts, wrongly indexed", one_row, kPosition | kSlot, chooses_expert,
     multiply_by_next_expert, take_wrong_expert},
    {"dropped_expert", "an expert's share is lost", "routing, as weight 0; or the weighted sum", one_row,
     kPosition | kSlot, weighs_expert, drop_expert_from_sum, take_wrong_expert},
    {"uniform_weights", "all chosen experts count alike", "routing", one_row, kPosition, routes_several, nullptr,
     route_wrongly},
    {"no_renormalise", "the chosen weights are not divided by their sum", "routing that renormalises", one_row,
     kPosition, renormalises, nullptr, route_wrongly},
    {"unsorted_experts", "the same experts and weights stand in another order", "routing to two or more", one_row,
     kPosition, routes_several, nullptr, route_wrongly},
    {"swapped_experts", "two experts get each other's weight", "routing to two or more", one_row, kPosition,
     routes_several, nullptr, route_wrongly},
    {"biased_weights", "the selection bias is also part of the weights", "routing with a selection bias", one_row,
     kPosition, selects_with_bias, nullptr, route_wrongly},
    {"ignored_groups", "experts of every group can be chosen", "routing limited to some groups", one_row, kPosition,
     routes_in_groups, nullptr, route_wrongly},
    {"missing_route_factor", "the weights are not multiplied by the router's factor", "routing with such a factor",
     one_row, kPosition, has_route_factor, nullptr, route_wrongly},
    {"missing_expert_bias", "the bias of an expert is not added", "every bias of experts", every_row, kPosition,
     is_expert_bias, leave_out},
    {"unweighted_bias", "the bias of an expert is added outside the weighting", "the last bias of experts", every_row,
     kPosition, is_last_expert_bias, add_bias_unweighted},
    // norms, biases, residuals, activations
    {"skipped_norm", "a norm is left out", "every norm", every_row, kPosition, is_norm, skip_norm},
    {"norm_offset", "1 is added to the norm's weight", "every norm with a weight", every_row, kPosition,
     is_weighted_norm, offset_norm},
    {"norm_without_one", "the weight is used less 1, as some files store it", "every norm with a weight", every_row,
     kPosition, is_weighted_norm, norm_without_one},
    {"norm_without_weight", "the weight of a norm is left out", "every norm with a weight", every_row, kPosition,
     is_weighted_norm, norm_without_weight},
    {"wrong_epsilon", "the norm's epsilon is 100 times too large", "every norm", every_row, kPosition, is_norm,
     change_epsilon},
    {"missing_bias", "a bias is not added", "every bias", every_row, kPosition, is_bias, leave_out},
    {"residual_added_twice", "a branch is added twice", "both residual additions", every_row, kPosition, is_residual,
     add_twice},
    {"lost_branch", "a branch is not added", "both residual additions", every_row, kPosition, is_residual, leave_out},
    {"lost_residual", "a branch replaces the residual stream", "both residual additions", every_row, kPosition,
     is_residual, lose_residual},
    {"gate_up_swapped", "the activation is applied to up in place of gate", "every activation with a gate", every_row,
     kPosition, has_order, swap_gate_and_up},
    {"wrong_activation", "gelu is computed in place of silu, or silu in place of another or of none",
     "every activation", every_row, kPosition, is_activation, use_other_activation},
    {"missing_clamp", "the limit of an activation is left out", "every activation with a limit", one_row, kPosition,
     is_clamped, leave_out_clamp},
    {"missing_gate", "a result is not multiplied by its gate",
     "gates of attention, short convolutions and shared experts", every_row, kPosition, is_gate, leave_out_gate},
    // scales
    {"missing_scale", "a constant factor is left out", "scales of embeddings, branches, queries and logits", every_row,
     kPosition, is_scale, leave_out},
    {"missing_multiplier", "a factor that the file has is left out", "scales of layers", every_row, kPosition,
     is_vector_product, leave_out},
    {"missing_softcap", "logits are not capped", "the soft cap of logits", every_row, kPosition, is_softcap, leave_out},
    {"missing_temperature", "queries are not scaled by their position", "queries with such a scale", one_row, kPosition,
     is_temperature, leave_out, nullptr, below_first_length},
    // rope
    {"off_by_one_position", "rope turns as at the next position, from a position on", "rope of queries or keys",
     onwards, kPosition, is_rope, turn_one_further},
    {"double_rope", "rope turns twice", "rope of queries or keys", every_row, kPosition, is_rope, turn_twice, nullptr,
     without_turn},
    {"skipped_rope", "rope does not turn", "rope of queries or keys", every_row, kPosition, is_rope, leave_out, nullptr,
     without_turn},
    {"rope_pairing", "neighbours are paired in place of halves, or the other way round", "rope of queries or keys",
     every_row, kPosition, is_rope, pair_otherwise, nullptr, without_turn},
    {"inflated_rope", "cosines and sines are 1.261 times too large", "rope of queries or keys", every_row, kPosition,
     is_rope, inflate_turn},
    {"wrong_learned_position", "the row of the next position is read, from a position on", "the table of positions",
     onwards, kPosition, is_learned_position, take_next_position},
    // attention and cache
    {"swapped_heads", "two key heads are exchanged", "attention; or what is stored", one_row, kPosition, swaps_heads,
     swap_key_heads, swap_heads},
    {"tiled_heads", "query head h reads key head h mod n, not h / group", "attention with grouped heads", one_row,
     kPosition, has_groups, tile_key_heads},
    {"truncated_attention", "a query does not see its own position", "attention", one_row, kPosition, is_attention,
     hide_last_position, nullptr, alone},
    {"unmasked_future", "a query sees the position after its own", "attention that sees the past only", one_row,
     kPosition, sees_the_past, show_future, nullptr, without_future},
    {"masked_future", "a query does not see the positions after its own", "attention that sees both ways", one_row,
     kPosition, sees_both_ways, hide_future, nullptr, without_future},
    {"unscaled_attention", "scores are not scaled", "attention", one_row, kPosition, is_attention, leave_out_scale,
     nullptr, alone},
    {"dropped_sinks", "the sinks of attention are left out", "attention with sinks", one_row, kPosition, has_sinks,
     leave_out_sinks},
    {"uncapped_attention", "scores are not capped", "attention with a soft cap", one_row, kPosition, has_softcap,
     leave_out_softcap, nullptr, alone},
    {"stale_cache_page", "attention reads a page as it was before this step stored into it", "attention", one_row,
     kPosition, is_attention, read_before_store},
    {"wrong_cache_page", "attention reads the page before in place of the newest", "attention", one_row, kPosition,
     is_attention, read_other_page, nullptr, without_earlier_page, true},
    {"wrong_cache_layer", "attention reads another layer's keys and values than the one it shares",
     "attention to the cache of an earlier layer", one_row, kPosition, shares_cache, read_other_layer},
    {"truncated_store", "keys and values are rounded towards zero, not to the nearest", "storing in f16 or bf16",
     one_row, kPosition, stores_halves, nullptr, truncate_stored},
    // recurrences
    {"kept_state", "a sequence begins with the state that the same prompt left before", "convolutions and recurrences",
     weights, 0, recurs, nullptr, recur_wrongly},
    {"state_one_late", "the state has seen the token of a position already, as after a wrong rewind",
     "convolutions and recurrences", onwards, kPosition, recurs, nullptr, recur_wrongly},
    {"misordered_value_heads", "value heads read key heads grouped in place of tiled, or the reverse",
     "recurrences with more value heads than key heads", weights, 0, has_value_groups, nullptr, recur_wrongly},
    {"reversed_taps", "a convolution's taps are in reverse order", "every convolution", weights, 0, is_convolution,
     nullptr, recur_wrongly},
    // weights
    {"flipped_bit", "one bit of a weight's block is flipped", "every matrix", weights, kRole | kRow | kBlock | kBit,
     is_matrix, nullptr, flip_bit},
    {"swapped_scale_pair", "two neighbouring scales of a weight row are exchanged", "every quantised matrix", weights,
     kRole | kRow | kBlock, has_scales, nullptr, swap_scales},
    {"inverted_global_scale", "the scale of a tensor is taken for its inverse",
     "every matrix of a model that is quantised; those without such a scale get results as if they had", weights, kRole,
     is_matrix, nullptr, invert_scale, nullptr, false, true},
    {"zero_weight", "the memory of a matrix was reserved and never filled", "every matrix", weights, kRole, is_matrix,
     nullptr, zero_weight},
    // kernels
    {"wrong_kernel_row", "one row of a product is summed left to right in one float", "every product", one_row,
     kPosition | kRole | kRow | kSlot, is_product, sum_naively},
    {"coarse_activations", "activations share a scale over 256, not 32", "every quantised product", one_row,
     kPosition | kRole, is_quantized_product, quantize_by_256},
    {"float_activations", "activations are not quantised", "every quantised product", one_row, kPosition | kRole,
     is_quantized_product, keep_activations_float},
    {"wrong_batch_row", "a row gets the product of the row before it", "every product", one_row, kPosition | kRole,
     is_product, take_neighbour, nullptr, without_neighbour},
    {"stale_result", "a row keeps what the pass before left there", "every result", one_row, kPosition, makes_rows,
     keep_previous_pass, nullptr, without_previous_pass},
    // rows
    {"wrong_token", "the embedding of the next token of the vocabulary is read", "the embedding", one_row, kPosition,
     is_embedding, take_next_token},
    {"wrong_logits_row", "the row is taken before the one whose logits are wanted", "the last rows", one_row, kPosition,
     is_gather, take_row_before, nullptr, without_row_before},
    {"late_nan", "a number becomes NaN", "every verb", one_row, kPosition | kElement, keeps_nan, nullptr, make_nan,
     nullptr, false, false, true},
};

}  // namespace

std::span<const FaultKind> all_faults() { return kKinds; }

std::vector<const VerbSite*> fitting_sites(const FaultKind& kind, std::span<const VerbSite> sites) {
    std::vector<const VerbSite*> fitting;
    // Formats with 16 bits or more a weight have no scales.
    const bool has_none = std::none_of(sites.begin(), sites.end(), [](const VerbSite& site) {
        return site.format != nullptr && site.format->block_bytes < 2 * site.format->block_weights;
    });
    if (kind.needs_scales && has_none) return fitting;
    for (const VerbSite& site : sites) {
        if (kind.fits(site)) fitting.push_back(&site);
    }
    return fitting;
}

std::vector<FaultSummary> fault_kinds() {
    constexpr std::pair<unsigned, std::string_view> kParts[] = {
        {kPosition, "position"}, {kRole, "role"}, {kSlot, "slot"},      {kRow, "row"},
        {kBlock, "block"},       {kBit, "bit"},   {kElement, "element"}};
    std::vector<FaultSummary> summaries;
    for (const FaultKind& kind : kKinds) {
        FaultSummary summary{
            .name = kind.name, .meaning = kind.meaning, .where = kind.where, .parts = {"layer", "stage"}};
        for (const auto& [bit, name] : kParts) {
            if ((kind.parts & bit) != 0) summary.parts.push_back(name);
        }
        summaries.push_back(std::move(summary));
    }
    return summaries;
}

}  // namespace invar
