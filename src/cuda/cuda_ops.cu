// Scratch, control arrays, finding the body that computes a call, and the verbs that work row by row. See cuda_ops.h;
// verbs of single elements: cuda_ops_elements.cu; products: cuda_ops_linear.cu; rope, cache and attention:
// cuda_ops_positions.cu; recurrences: cuda_ops_recurrences.cu.
#include "cuda/cuda_ops.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "base/check.h"
#include "cuda/cuda_ops_control.cuh"
#include "cuda/kernel_loading.h"
#include "cuda/product_formats.h"
#include "cuda/recurrence.cuh"
#include "cuda/routing.cuh"
#include "ops/visible_rows.h"

namespace invar {

using namespace cuda;

namespace {

constexpr int64_t kArenaAlignment = 256;
// For a row of logits: its ranks, its first wrong logit, its request (PreselectRow), and the request's edits.
constexpr int64_t kMostRankingBytes =
    8 * kMostPreselected + 8 + 24 + int64_t{kMostLogitEdits} * static_cast<int64_t>(sizeof(LogitEdit));

int64_t aligned(int64_t bytes) { return (bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment; }

}  // namespace

// Lays out the arrays one after the other from `base` on and returns their bytes. Without memory it only counts.
int64_t CudaOps::Control::lay_out(const CudaOpsSettings& settings, const DeviceBytes& base) {
    memory = base;
    pages_of_sequence = pages_for(settings.positions);
    pages_of_group = settings.sequences * pages_of_sequence;
    int64_t bytes = 0;
    const auto carve = [&]<class T>(ControlArray<T>& array, int64_t count) {
        if (base != nullptr) array = {.memory = DeviceBytes(base, base.get() + bytes), .count = count};
        bytes += aligned(std::max<int64_t>(count, 1) * static_cast<int64_t>(sizeof(T)));
    };
    carve(failure, 1);
    for (ControlArray<int32_t>* array : {&tokens, &sequences, &positions, &ends, &gathered})
        carve(*array, settings.rows);
    for (RowTiles& set : tiles) {
        carve(set.first, settings.rows);
        carve(set.rows, settings.rows);
    }
    if (base != nullptr) mirror.assign(static_cast<size_t>(bytes), std::byte{0});
    carve(pages, settings.page_tables * pages_of_group);
    carve(frequencies, int64_t{kRopeTables} * kMostPairs);
    carve(chunk_results, settings.chunk_result_bytes / 4);
    carve(ranking, settings.ranked_rows * kMostRankingBytes);
    return bytes;
}

Result<std::unique_ptr<CudaOps>> CudaOps::create(const CudaOpsSettings& settings) {
    std::unique_ptr<CudaOps> ops(new CudaOps(settings));
    if (settings.measuring) return ops;
    TRY_ASSIGN(ops->memory_,
               settings.device.allocate(ops->memory_bytes(settings.scratch_bytes), "the activations of a pass"));
    Control& control = *ops->control_;
    control.lay_out(settings, DeviceBytes(ops->memory_, ops->memory_.get() + aligned(settings.scratch_bytes)));
    control.mark(0, static_cast<int64_t>(control.mirror.size()));
    ops->begin_pass();
    TRY(ops->device_error());
    return ops;
}

int64_t CudaOps::memory_bytes(int64_t scratch_bytes) const {
    return aligned(scratch_bytes) + Control().lay_out(settings_, nullptr);
}

CudaOps::CudaOps(const CudaOpsSettings& settings) : settings_(settings), control_(std::make_unique<Control>()) {
    control_->pages_of_sequence = pages_for(settings.positions);
}
CudaOps::~CudaOps() = default;

// ---- scratch, errors, the failure cell

std::byte* CudaOps::take(int64_t bytes) {
    const int64_t start = taken_;
    taken_ += aligned(bytes);
    peak_ = std::max(peak_, taken_);
    if (settings_.measuring) return reinterpret_cast<std::byte*>(kArenaAlignment + start);  // never read
    CHECK(taken_ <= settings_.scratch_bytes, "the plan measured the scratch of the largest batch");
    return memory_.get() + start;
}

Tensor CudaOps::scratch(int64_t rows, int64_t width) {
    return {take_elements<float>(rows * width), Place::device, rows, width, width};
}

ExpertSlots CudaOps::scratch_slots(int64_t rows, int experts_per_row) {
    ExpertSlots routing;
    routing.rows = rows;
    routing.experts_per_row = experts_per_row;
    routing.experts = take_elements<int32_t>(rows * experts_per_row);
    routing.weights = take_elements<float>(rows * experts_per_row);
    routing.margins = take_elements<float>(rows);
    return routing;
}

void CudaOps::keep(Result<void> result) {
    if (error_ && !result) error_ = std::move(result);
}

void CudaOps::reset_pass() {
    taken_ = 0;
    calls_.clear();
    control_->angles.clear();
    control_->pages_current = false;  // the pages of a sequence may have changed
    if (settings_.measuring) return;
    std::memcpy(control_->mirror.data(), &kNoFailure, sizeof(kNoFailure));
    control_->mark(0, sizeof(kNoFailure));
}

void CudaOps::begin_pass() {
    reset_pass();
    send_cells();
}

// Does begin_pass(), and uploads everything that the verbs of a pass over this batch need from the host.
void CudaOps::start_pass(const Batch& batch, const SequenceState& cache) {
    reset_pass();
    write_batch(batch);
    for (RowTiles& tiles : control_->tiles)
        if (tiles.limit != 0) write_tiles(batch, tiles);
    control_->write(control_->gathered, batch.logits_rows.data(), batch.logits_rows.size());
    send_cells();
    bring_pages(batch, cache);
}

void CudaOps::send_cells() {
    Control& control = *control_;
    if (settings_.measuring || control.changed_first == control.changed_last) return;
    keep(settings_.device.upload(control.memory.get() + control.changed_first,
                                 control.mirror.data() + control.changed_first,
                                 control.changed_last - control.changed_first));
    control.changed_first = control.changed_last = 0;
}

int CudaOps::next_call(std::string_view verb, Stage stage) {
    CHECK(static_cast<int64_t>(calls_.size()) < kMostCalls, "a pass has fewer than a million verbs");
    calls_.push_back({.verb = verb, .second_verb = verb, .stage = stage});
    return static_cast<int>(calls_.size()) - 1;
}

// Reads the failure cell; finish() reports a device that failed.
std::optional<CudaOps::Failed> CudaOps::failed() const {
    if (settings_.measuring) return std::nullopt;
    uint64_t key = kNoFailure;
    const Result<void> read = settings_.device.download(&key, control_->failure.memory.get(), sizeof(key));
    if (!read || key == kNoFailure) return std::nullopt;
    return Failed{key};
}

std::optional<int64_t> CudaOps::failed_call() const {
    const std::optional<Failed> found = failed();
    return found ? std::optional<int64_t>(failure_of(found->key).call) : std::nullopt;
}

Result<void> CudaOps::finish() {
    if (!settings_.measuring) keep(settings_.device.wait());
    return error_;
}

std::optional<NonFinite> CudaOps::failure() const {
    const std::optional<Failed> cell = failed();
    if (!cell) return std::nullopt;
    const FailureKey found = failure_of(cell->key);
    const Call& call = calls_[static_cast<size_t>(found.call)];
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const float values[3] = {std::numeric_limits<float>::quiet_NaN(), kInfinity, -kInfinity};
    return NonFinite{.verb = std::string(found.job == 0 ? call.verb : call.second_verb),
                     .stage = call.stage,
                     .row = found.row,
                     .element = found.element,
                     .value = values[found.kind]};
}

Result<std::vector<float>> CudaOps::read(Tensor tensor) {
    if (!error_) return tl::unexpected<Error>(error_.error());
    std::vector<float> values(static_cast<size_t>(tensor.rows() * tensor.width()));
    for (int64_t row = 0; row < tensor.rows(); ++row) {
        const auto* from = reinterpret_cast<const std::byte*>(tensor.device() + row * tensor.stride());
        TRY(settings_.device.download(values.data() + row * tensor.width(), from, tensor.width() * 4));
    }
    TRY(settings_.device.wait());
    return values;
}

// ---- the arrays of a batch

void CudaOps::write_batch(const Batch& batch) {
    Control& control = *control_;
    const auto same = [](const BatchRow& a, const BatchRow& b) {
        return a.token == b.token && a.sequence == b.sequence && a.position == b.position;
    };
    if (std::equal(batch.rows.begin(), batch.rows.end(), control.rows.begin(), control.rows.end(), same)) return;
    CHECK(batch.size() <= settings_.rows && batch.size() < kMostRows, "a batch is at most as large as planned");
    control.rows = batch.rows;
    control.angles.clear();
    control.pages_current = false;
    for (RowTiles& tiles : control.tiles) tiles.current = false;
    if (settings_.measuring) return;
    std::vector<int32_t> values(batch.rows.size());
    const auto write = [&](const ControlArray<int32_t>& array, auto value) {
        for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<int32_t>(value(batch.rows[i]));
        control.write(array, values.data(), values.size());
    };
    write(control.tokens, [](const BatchRow& row) { return row.token; });
    write(control.sequences, [](const BatchRow& row) { return row.sequence; });
    write(control.positions, [](const BatchRow& row) { return row.position; });
    std::ranges::transform(sequence_ends(batch), values.begin(), [](int64_t end) { return static_cast<int32_t>(end); });
    control.write(control.ends, values.data(), values.size());
}

void CudaOps::bring_batch(const Batch& batch) {
    write_batch(batch);
    send_cells();
}

void CudaOps::bring_pages(const Batch& batch, const SequenceState& cache) {
    Control& control = *control_;
    if (control.pages_current) return;
    control.pages_current = true;
    std::vector<int32_t> pages = control.page_numbers;
    pages.resize(static_cast<size_t>(control.pages.count), 0);
    CHECK(std::ssize(cache.groups()) <= settings_.page_tables, "groups are as many as planned");
    for (const BatchRow& row : batch.rows) {
        for (int group = 0; group < std::ssize(cache.groups()); ++group) {
            const std::span<const int32_t> table = cache.table(row.sequence, group);
            const bool is_slot = cache.groups()[static_cast<size_t>(group)].kind == GroupKind::recurrence;
            CHECK(row.sequence < settings_.sequences && std::ssize(table) <= control.pages_of_sequence,
                  "sequences and positions are at most as many as planned");
            CHECK((is_slot ? 0 : row.position / kPagePositions) < std::ssize(table),
                  "room was reserved before the pass");
            // Pages that a window has given back are not read; page 0 stands for them.
            int32_t* const to = &pages[static_cast<size_t>(control.table_at(group, row.sequence))];
            std::ranges::transform(table, to, [](int32_t page) { return std::max(page, 0); });
        }
    }
    if (pages == control.page_numbers) return;
    control.page_numbers = std::move(pages);
    keep(settings_.device.upload(control.pages.memory.get(), control.page_numbers.data(),
                                 static_cast<int64_t>(control.page_numbers.size()) * 4));
}

// ---- finding the body that computes a call

const CudaOps::Body* CudaOps::body_of(Verb verb) {
    static const VerbTable<Body> kTable(
        {row_bodies(), element_bodies(), product_bodies(), position_bodies(), recurrence_bodies()});
    return kTable.find(verb);
}

// The forms of a verb that have a kernel here.
static bool has_form(const VerbCall& call) {
    switch (call.verb) {
        case Verb::causal_convolution:
            return call.recurrence->taps <= kMostTaps;
        case Verb::delta_rule:
        case Verb::state_space:
            return call.recurrence->heads.key_width <= kMostStateKeys;
        case Verb::head_linear:
            return call.stack->count <= kMostExperts;
        default:
            return true;
    }
}

// A verb or a form of one without a kernel here, or weights in a format without products here.
bool CudaOps::lacks(const VerbCall& call) {
    const WeightMatrix* weights = call.weights();
    const bool has_format = weights == nullptr || has_products(weights->format->id);
    if (body_of(call.verb) != nullptr && has_form(call) && has_format) return false;
    keep(fail(ErrorKind::unsupported, "the CUDA device has no kernel for {}; use --device cpu", describe(call)));
    return true;
}

void CudaOps::run(const VerbCall& call) {
    if (!lacks(call)) body_of(call.verb)->run(*this, call);
}

void CudaOps::run_together(std::span<const VerbCall> calls) {
    const Body* body = body_of(calls.front().verb);
    const bool together = body != nullptr && body->run_together != nullptr &&
                          std::none_of(calls.begin(), calls.end(), [&](const VerbCall& call) { return lacks(call); });
    if (!together) return Ops::run_together(calls);
    body->run_together(*this, calls);
}

// ---- row by row

struct CudaOps::RowVerbs {
    static void embed(CudaOps& cuda, const VerbCall& call) {
        const WeightMatrix& table = *call.matrix;
        const Batch& batch = *call.batch;
        const Tensor out = call.out;
        CHECK(table.form == StoredForm::device_lanes, "matrices of a device are packed for it");
        if (cuda.settings_.measuring) return;
        for (const BatchRow& row : batch.rows) {
            const int64_t from = call.row_of_table(row);
            CHECK(from >= 0 && from < table.rows, "tokens and positions were checked before the pass");
        }
        cuda.bring_batch(batch);
        const Control& control = *cuda.control_;
        const bool by_token = call.table_row == TableRow::token;
        const EmbedArgs args{.weights = simt::global(reinterpret_cast<const uint8_t*>(table.data), table.bytes),
                             .rows = table.rows,
                             .columns = table.columns,
                             .scales = result_scales(table),
                             .from = (by_token ? control.tokens : control.positions).constant(),
                             .first = call.table_row == TableRow::first ? 1 : 0,
                             .out = rows_of(out),
                             .inspector = Inspector::of(cuda.control_->failure.global(), cuda.next_call(call))};
        const simt::Grid grid{.x = static_cast<int>(records_of(table.columns)),
                              .y = static_cast<int>(batch.size()),
                              .threads = kRecordColumns,
                              .name = "embed"};
        const simt::Stream stream = stream_of(cuda.settings_.device);
        const FormatId id = table.format->id;
        if (with_quantized_format(id, [&]<FormatId kId>() { simt::launch(stream, grid, embed_kernel<kId>, args); }))
            return;
        const bool is_float =
            with_float_format(id, [&]<FormatId kId>() { simt::launch(stream, grid, embed_kernel<kId>, args); });
        CHECK(is_float, "the plan brings no format to the device that has no kernels there");
    }

    template <class Kernel>
    static void normalise(CudaOps& cuda, const VerbCall& call, const char* name, Kernel kernel) {
        const Tensor x = call.x, y = call.out;
        check_same_shape(x, y);
        CHECK(call.group > 0 && x.width() % call.group == 0, "a row is a whole number of normalised groups");
        CHECK(call.vector == nullptr || call.vector->size % call.group == 0, "a weight of a norm has whole groups");
        if (cuda.settings_.measuring) return;
        const NormArgs args{.x = rows_of(x),
                            .y = rows_of(y),
                            .weight = vector_of(call.vector),
                            .weight_size = call.vector == nullptr ? 0 : call.vector->size,
                            .bias = vector_of(call.vector2),
                            .size = call.group,
                            .epsilon = call.epsilon,
                            .inspector = Inspector::of(cuda.control_->failure.global(), cuda.next_call(call))};
        simt::launch(stream_of(cuda.settings_.device),
                     {.x = static_cast<int>(x.width() / call.group),
                      .y = static_cast<int>(x.rows()),
                      .threads = kReduceThreads,
                      .name = name},
                     kernel, args);
    }
    static void rms_norm(CudaOps& cuda, const VerbCall& call) {
        normalise(cuda, call, "rms_norm", root_norm_kernel<true>);
    }
    static void l2_norm(CudaOps& cuda, const VerbCall& call) {
        normalise(cuda, call, "l2_norm", root_norm_kernel<false>);
    }
    static void layer_norm(CudaOps& cuda, const VerbCall& call) {
        normalise(cuda, call, "layer_norm", layer_norm_kernel);
    }

    static void gather_rows(CudaOps& cuda, const VerbCall& call) {
        const Tensor x = call.x, out = call.out;
        const std::span<const int32_t> rows = call.gathered;
        CHECK(out.rows() == static_cast<int64_t>(rows.size()) && out.width() == x.width(),
              "one row of out for each index");
        CHECK(out.rows() <= cuda.settings_.rows, "no more rows are chosen than a batch has");
        for (const int32_t row : rows) CHECK(row >= 0 && row < x.rows(), "a gathered row exists");
        if (cuda.settings_.measuring) return;
        if (rows.empty()) return;
        cuda.control_->write(cuda.control_->gathered, rows.data(), rows.size());
        cuda.send_cells();
        const GatherArgs args{.x = rows_of(x),
                              .out = rows_of(out),
                              .rows = cuda.control_->gathered.constant(),
                              .width = x.width(),
                              .inspector = Inspector::of(cuda.control_->failure.global(), cuda.next_call(call))};
        simt::launch(stream_of(cuda.settings_.device), parts_grid(out, "gather_rows"), gather_kernel, args);
    }

    static void route(CudaOps& cuda, const VerbCall& call) {
        const Tensor logits = call.x;
        const ExpertSlots& routing = call.slots;
        const RouteSpec& spec = *call.route;
        const int experts = static_cast<int>(logits.width()), k = spec.experts_per_row;
        CHECK(k >= 1 && k <= experts && experts <= kMostExperts, "a model chooses among at most 1024 experts");
        CHECK(spec.groups >= 1 && experts % spec.groups == 0, "groups of experts have one size");
        CHECK(routing.rows == logits.rows() && routing.experts_per_row == k,
              "routing has k slots for each row of logits");
        if (cuda.settings_.measuring) return;
        const int64_t slots = routing.rows * k;
        const RouteArgs args{.logits = rows_of(logits),
                             .experts = experts,
                             .spec = spec,
                             .selection_bias = vector_of(call.vector),
                             .factors = vector_of(call.vector2),
                             .expert_of_slot = simt::global(routing.experts, slots),
                             .weight_of_slot = simt::global(routing.weights, slots),
                             .margins = simt::global(routing.margins, routing.rows),
                             .inspector = Inspector::of(cuda.control_->failure.global(), cuda.next_call(call))};
        simt::launch(stream_of(cuda.settings_.device),
                     {.x = static_cast<int>(logits.rows()), .threads = kReduceThreads, .name = "route"}, route_kernel,
                     args);
    }

    static Global<const float> weights_of(const ExpertSlots& routing) {
        return simt::global(static_cast<const float*>(routing.weights), routing.rows * routing.experts_per_row);
    }
    static void weigh_slots(CudaOps& cuda, const VerbCall& call) {
        const Tensor x = call.x, out = call.out;
        const ExpertSlots& routing = call.slots;
        CHECK(x.rows() == routing.rows && out.rows() == routing.rows * routing.experts_per_row &&
                  x.width() == out.width(),
              "a slot reads its row");
        if (cuda.settings_.measuring) return;
        const WeighArgs args{.x = rows_of(x),
                             .out = rows_of(out),
                             .weight_of_slot = weights_of(routing),
                             .chosen = routing.experts_per_row,
                             .width = out.width(),
                             .inspector = Inspector::of(cuda.control_->failure.global(), cuda.next_call(call))};
        simt::launch(stream_of(cuda.settings_.device), parts_grid(out, "weigh_slots"), weigh_slots_kernel, args);
    }

    static void combine_experts(CudaOps& cuda, const VerbCall& call) {
        const Tensor slots = call.x, y = call.out;
        const ExpertSlots& routing = call.slots;
        const int64_t count = routing.rows * routing.experts_per_row;
        CHECK(slots.rows() == count && y.rows() == routing.rows && slots.width() == y.width(),
              "there is a slot for each row and rank");
        if (cuda.settings_.measuring) return;
        const CombineArgs args{.slots = rows_of(slots),
                               .y = rows_of(y),
                               .weight_of_slot = call.unweighted ? Global<const float>() : weights_of(routing),
                               .chosen = routing.experts_per_row,
                               .width = y.width(),
                               .inspector = Inspector::of(cuda.control_->failure.global(), cuda.next_call(call))};
        simt::launch(stream_of(cuda.settings_.device), parts_grid(y, "combine_experts"), combine_kernel, args);
    }
};

std::span<const CudaOps::Body> CudaOps::row_bodies() {
    static constexpr Body kBodies[] = {
        {Verb::embed, RowVerbs::embed},
        {Verb::rms_norm, RowVerbs::rms_norm},
        {Verb::l2_norm, RowVerbs::l2_norm},
        {Verb::layer_norm, RowVerbs::layer_norm},
        {Verb::gather_rows, RowVerbs::gather_rows},
        {Verb::route, RowVerbs::route},
        {Verb::combine_experts, RowVerbs::combine_experts},
        {Verb::weigh_slots, RowVerbs::weigh_slots},
    };
    return kBodies;
}

const void* cuda::kernel_of_verbs() { return reinterpret_cast<const void*>(gather_kernel); }

}  // namespace invar
