// The table of faults: what each is, where it fits, and where it cannot show. Each is a fault that some engine had, or
// one that a comparison by cosine would miss. A new fault is a row here and a function in one of the fault_*.cpp.
#include "proof/faults/fault_kind.h"

namespace invar {
namespace {

using namespace faults;
using enum FaultExtent;
constexpr unsigned kPosition = fault_part::position, kSlot = fault_part::slot, kRow = fault_part::row,
                   kBlock = fault_part::block, kBit = fault_part::bit, kElement = fault_part::element,
                   kRole = fault_part::role;

// ---- where a fault fits

bool is_norm(const VerbSite& site) { return site.verb == Verb::rms_norm; }
bool is_bias(const VerbSite& site) { return site.verb == Verb::add_bias; }
bool is_rope(const VerbSite& site) { return site.verb == Verb::rope; }
bool is_activation(const VerbSite& site) { return site.verb == Verb::activate; }
bool is_residual(const VerbSite& site) { return site.verb == Verb::add; }
bool is_embedding(const VerbSite& site) { return site.verb == Verb::embed; }
bool is_gather(const VerbSite& site) { return site.verb == Verb::gather_rows; }
bool is_attention(const VerbSite& site) { return site.verb == Verb::attention; }
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
bool is_route(const VerbSite& site) { return site.verb == Verb::route; }
bool routes_some(const VerbSite& site) { return is_route(site) && site.experts_per_row < site.routed; }
bool routes_several(const VerbSite& site) { return is_route(site) && site.experts_per_row >= 2; }
bool renormalises(const VerbSite& site) { return routes_some(site) && site.renormalise; }
bool chooses_expert(const VerbSite& site) {
    return routes_some(site) || (site.verb == Verb::expert_linear && site.experts >= 2);
}
bool weighs_expert(const VerbSite& site) { return is_route(site) || site.verb == Verb::combine_experts; }
bool makes_rows(const VerbSite& site) { return site.width > 0; }
bool is_any(const VerbSite&) { return true; }

// ---- where it cannot show

std::string_view at_position_0(std::string_view reason, int64_t position) { return position == 0 ? reason : ""; }
std::string_view without_turn(const VerbSite&, int64_t position, const RunShape&) {
    return at_position_0("position 0 is turned by an angle of 0", position);
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
    {"wrong_expert", "another expert than the one chosen", "routing; or one product of the experts, wrongly indexed",
     one_row, kPosition | kSlot, chooses_expert, multiply_by_next_expert, take_wrong_expert},
    {"dropped_expert", "an expert's share is lost", "routing, as weight 0; or the weighted sum", one_row,
     kPosition | kSlot, weighs_expert, drop_expert_from_sum, take_wrong_expert},
    {"uniform_weights", "all chosen experts count alike", "routing", one_row, kPosition, routes_several, nullptr,
     route_wrongly},
    {"no_renormalise", "the chosen weights are not divided by their sum", "routing that renormalises", one_row,
     kPosition, renormalises, nullptr, route_wrongly},
    {"unsorted_experts", "the same experts and weights in another order", "routing to two or more", one_row, kPosition,
     routes_several, nullptr, route_wrongly},
    {"swapped_experts", "two experts get each other's weight", "routing to two or more", one_row, kPosition,
     routes_several, nullptr, route_wrongly},
    // norms, biases, residuals, activations
    {"skipped_norm", "a norm is left out", "every norm", every_row, kPosition, is_norm, skip_norm},
    {"norm_offset", "1 is added to the norm's weight", "every norm", every_row, kPosition, is_norm, offset_norm},
    {"wrong_epsilon", "the norm's epsilon is 100 times too large", "every norm", every_row, kPosition, is_norm,
     change_epsilon},
    {"missing_bias", "a bias is not added", "every bias", every_row, kPosition, is_bias, leave_out_bias},
    {"residual_added_twice", "a branch is added twice", "both residual additions", every_row, kPosition, is_residual,
     add_twice},
    {"lost_branch", "a branch is not added", "both residual additions", every_row, kPosition, is_residual, lose_branch},
    {"lost_residual", "a branch replaces the residual stream", "both residual additions", every_row, kPosition,
     is_residual, lose_residual},
    {"gate_up_swapped", "silu is applied to up in place of gate", "every activation", every_row, kPosition,
     is_activation, swap_gate_and_up},
    {"wrong_activation", "gelu in place of silu", "every activation", every_row, kPosition, is_activation, use_gelu},
    // rope
    {"off_by_one_position", "rope turns as at the next position, from a position on", "rope of queries or keys",
     onwards, kPosition, is_rope, turn_one_further},
    {"double_rope", "rope turns twice", "rope of queries or keys", every_row, kPosition, is_rope, turn_twice, nullptr,
     without_turn},
    {"skipped_rope", "rope does not turn", "rope of queries or keys", every_row, kPosition, is_rope, leave_out_turn,
     nullptr, without_turn},
    {"rope_pairing", "neighbours are paired in place of halves, or the other way round", "rope of queries or keys",
     every_row, kPosition, is_rope, pair_otherwise, nullptr, without_turn},
    {"inflated_rope", "cosines and sines are 1.261 times too large", "rope of queries or keys", every_row, kPosition,
     is_rope, inflate_turn},
    // attention and cache
    {"swapped_heads", "two key heads are exchanged", "attention; or what is stored", one_row, kPosition, swaps_heads,
     swap_key_heads, swap_heads},
    {"tiled_heads", "query head h reads key head h mod n, not h / group", "attention with grouped heads", one_row,
     kPosition, has_groups, tile_key_heads},
    {"truncated_attention", "a query does not see its own position", "attention", one_row, kPosition, is_attention,
     hide_last_position, nullptr, alone},
    {"unmasked_future", "a query sees the position after its own", "attention", one_row, kPosition, is_attention,
     show_future, nullptr, without_future},
    {"unscaled_attention", "scores are not scaled", "attention", one_row, kPosition, is_attention, leave_out_scale,
     nullptr, alone},
    {"stale_cache_page", "attention reads a page as it was before this step stored into it", "attention", one_row,
     kPosition, is_attention, read_before_store},
    {"wrong_cache_page", "attention reads the page before in place of the newest", "attention", one_row, kPosition,
     is_attention, read_other_page, nullptr, without_earlier_page, true},
    {"truncated_store", "keys and values are rounded towards zero, not to the nearest", "storing in f16 or bf16",
     one_row, kPosition, stores_halves, nullptr, truncate_stored},
    // weights
    {"flipped_bit", "one bit of a weight's block is flipped", "every matrix", weights, kRole | kRow | kBlock | kBit,
     is_matrix, nullptr, flip_bit},
    {"swapped_scale_pair", "two neighbouring scales of a weight row are exchanged", "every quantised matrix", weights,
     kRole | kRow | kBlock, has_scales, nullptr, swap_scales},
    {"inverted_global_scale", "the scale of a tensor is taken for its inverse",
     "every matrix; those without such a scale get results as if they had", weights, kRole, is_matrix, nullptr,
     invert_scale},
    {"zero_weight", "a matrix was reserved and never filled", "every matrix", weights, kRole, is_matrix, nullptr,
     zero_weight},
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
    {"wrong_token", "the embedding of the next token of the vocabulary", "the embedding", one_row, kPosition,
     is_embedding, take_next_token},
    {"wrong_logits_row", "the row before the one whose logits are wanted", "the last rows", one_row, kPosition,
     is_gather, take_row_before, nullptr, without_row_before},
    {"late_nan", "a number becomes NaN", "every verb", one_row, kPosition | kElement, is_any, nullptr, make_nan,
     nullptr, false, true},
};

}  // namespace

std::span<const FaultKind> all_faults() { return kKinds; }

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
