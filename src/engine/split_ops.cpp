#include "engine/split_ops.h"

#include <algorithm>
#include <array>

namespace invar {

// ---- buffers and their two sides

void SplitOps::add_buffer(const void* host, const void* device, int64_t bytes) {
    if (bytes == 0) return;  // its address may be the next buffer's
    buffers_.push_back({.host = static_cast<std::byte*>(const_cast<void*>(host)),
                        .device = static_cast<std::byte*>(const_cast<void*>(device)),
                        .bytes = bytes});
}

SplitOps::Buffer* SplitOps::find_buffer(const void* host) {
    const auto* place = static_cast<const std::byte*>(host);
    const auto found = std::find_if(buffers_.begin(), buffers_.end(), [&](const Buffer& buffer) {
        return place >= buffer.host && place < buffer.host + buffer.bytes;
    });
    return found == buffers_.end() ? nullptr : &*found;
}

SplitOps::Buffer& SplitOps::buffer_of(const void* host) {
    Buffer* const found = find_buffer(host);
    CHECK(found != nullptr, "results are in scratch of their own pass");
    return *found;
}

// A copy on the device, for this pass, of bytes that are in no buffer of it. If there is no memory the pass has failed,
// and nothing runs in it any more.
std::byte* SplitOps::foreign_bytes(const void* host, int64_t bytes, std::string_view what) {
    auto memory = settings_.accelerator.allocate(bytes, what);
    if (!memory) {
        keep(tl::unexpected<Error>(memory.error()));
        return nullptr;
    }
    keep(settings_.accelerator.upload(memory->get(), host, bytes));
    return foreign_.emplace_back(std::move(*memory)).get();
}

// An observer may give a verb an input that is not one of the pass's own tensors.
Tensor SplitOps::foreign_input(Tensor x, Place place) {
    if (place == Place::host) return x;
    const int64_t bytes = ((x.rows() - 1) * x.stride() + x.width()) * 4;
    std::byte* const there = foreign_bytes(x.host(), bytes, "an observer's tensor");
    return {reinterpret_cast<float*>(there), place, x.rows(), x.width(), x.stride()};
}

// The vector where its verb runs. Another vector than the one that decides the place may be elsewhere: an observer has
// replaced it, or it belongs to a layer that attends the cache of a layer at the other place.
const WeightVector* SplitOps::vector_at(const WeightVector* vector, Place place) {
    if (vector == nullptr || vector->place == place) return vector;
    WeightVector& there = foreign_vectors_.emplace_back(*vector);
    if (settings_.measuring) {
        there.place = place;
    } else if (place == Place::host) {
        there = settings_.source.vector(vector->id);
    } else {
        there.data = reinterpret_cast<const float*>(
            foreign_bytes(vector->data, vector->size * static_cast<int64_t>(sizeof(float)), "a vector of weights"));
        there.place = place;
    }
    return &there;
}

Tensor SplitOps::scratch(int64_t rows, int64_t width) {
    const Tensor host = settings_.host.scratch(rows, width), device = settings_.device.scratch(rows, width);
    add_buffer(host.host(), device.device(), rows * width * 4);
    return host;
}

ExpertSlots SplitOps::scratch_slots(int64_t rows, int experts_per_row) {
    const ExpertSlots host = settings_.host.scratch_slots(rows, experts_per_row);
    const ExpertSlots device = settings_.device.scratch_slots(rows, experts_per_row);
    add_buffer(host.experts, device.experts, rows * experts_per_row * 4);
    add_buffer(host.weights, device.weights, rows * experts_per_row * 4);
    add_buffer(host.margins, device.margins, rows * 4);
    return host;
}

void SplitOps::keep(Result<void> result) {
    if (error_ && !result) error_ = std::move(result);
}

void SplitOps::bring(Buffer& buffer, Place place) {
    if (buffer.current(place) || (!buffer.on_host && !buffer.on_device)) return;
    (place == Place::host ? buffer.on_host : buffer.on_device) = true;
    if (settings_.measuring) return;
    if (place == Place::host) {
        keep(settings_.accelerator.download(buffer.host, buffer.device, buffer.bytes));
        downloaded_ += buffer.bytes;
    } else {
        keep(settings_.accelerator.upload(buffer.device, buffer.host, buffer.bytes));
        uploaded_ += buffer.bytes;
    }
}

std::byte* SplitOps::at(const Buffer& buffer, const void* host, Place place) const {
    const auto offset = static_cast<const std::byte*>(host) - buffer.host;
    return (place == Place::host ? buffer.host : buffer.device) + offset;
}

Tensor SplitOps::side(Tensor x, Place place) {
    if (place == Place::host) return x;
    if (x.rows() == 0) return {nullptr, place, 0, x.width(), x.stride()};
    return {reinterpret_cast<float*>(at(buffer_of(x.host()), x.host(), place)), place, x.rows(), x.width(), x.stride()};
}

Tensor SplitOps::input(Tensor x, Place place) {
    if (x.rows() == 0) return side(x, place);
    Buffer* const buffer = find_buffer(x.host());
    if (buffer == nullptr) return foreign_input(x, place);
    bring(*buffer, place);
    return side(x, place);
}

Tensor SplitOps::result(Tensor y, Place place) {
    if (y.rows() == 0) return side(y, place);
    Buffer& buffer = buffer_of(y.host());
    // The result may be a part of its buffer; the rest of the buffer must then be current at the same place.
    if (y.rows() * y.width() * 4 < buffer.bytes) bring(buffer, place);
    buffer.on_host = place == Place::host;
    buffer.on_device = place == Place::device;
    return side(y, place);
}

template <class T>
T* SplitOps::input_slots(T* array, Place place) {
    Buffer& buffer = buffer_of(array);
    bring(buffer, place);
    return reinterpret_cast<T*>(at(buffer, array, place));
}

ExpertSlots SplitOps::result_slots(const ExpertSlots& slots, Place place) {
    ExpertSlots there = slots;
    const auto written = [&]<class T>(T*& array) {
        Buffer& buffer = buffer_of(array);
        buffer.on_host = place == Place::host;
        buffer.on_device = place == Place::device;
        array = reinterpret_cast<T*>(at(buffer, array, place));
    };
    written(there.experts);
    written(there.weights);
    written(there.margins);
    return there;
}

Place SplitOps::place_of(Tensor x, Tensor other) {
    const Buffer *first = find_buffer(x.host()), *second = find_buffer(other.host());
    if (first != nullptr && first->on_host != first->on_device) return first->on_host ? Place::host : Place::device;
    return second != nullptr && second->on_device ? Place::device : Place::host;
}

// ---- a pass

void SplitOps::begin_pass() {
    settings_.device.begin_pass();
    forget_pass();
}

Tensor SplitOps::adopt_pass(Tensor made) {
    forget_pass();
    const Tensor host = settings_.host.scratch(made.rows(), made.width());
    add_buffer(host.host(), made.device(), made.rows() * made.width() * 4);
    if (!buffers_.empty()) buffers_.back().on_device = true;
    last_place_ = Place::device;
    return host;
}

void SplitOps::forget_pass() {
    settings_.host.begin_pass();
    buffers_.clear();
    foreign_.clear();
    foreign_vectors_.clear();
    verb_ = 0;
    failed_on_host_.reset();
    verb_of_call_.clear();
}

std::optional<NonFinite> SplitOps::failure() const {
    const std::optional<NonFinite> on_device = settings_.device.failure();
    if (!on_device) return settings_.host.failure();
    const std::optional<int64_t> call = settings_.device.failed_call();
    const bool host_first = failed_on_host_ && call && *failed_on_host_ < verb_of_call_[static_cast<size_t>(*call)];
    return host_first ? settings_.host.failure() : on_device;
}

Result<void> SplitOps::finish() {
    TRY(error_);
    TRY(settings_.host.finish());
    return settings_.device.finish();
}

void SplitOps::run_at(Place place, std::span<const VerbCall> calls) {
    if (!error_) return;  // finish() reports it
    ++verb_;
    last_place_ = place;
    Ops& machine = place == Place::host ? static_cast<Ops&>(settings_.host) : settings_.device;
    if (calls.size() == 1) {
        machine.run(calls.front());
    } else {
        machine.run_together(calls);
    }
    if (place == Place::host) {
        if (!failed_on_host_ && settings_.host.failure()) failed_on_host_ = verb_;
        return;
    }
    verb_of_call_.resize(static_cast<size_t>(settings_.device.calls()), verb_);
}

Result<std::vector<RankedLogits>> SplitOps::preselect(Tensor logits) {
    TRY_ASSIGN(std::vector<RankedLogits> ranked, settings_.device.preselect(input(logits, Place::device)));
    for (const RankedLogits& row : ranked)
        downloaded_ += static_cast<int64_t>((1 + row.first.size()) * sizeof(RankedLogit));
    return ranked;
}

// ---- host access for observers, which read results and may change them

void SplitOps::to_host(Tensor x) { input(x, Place::host); }

// Sends the change back to the device, so that the next verb runs where it would have run without the observer.
void SplitOps::changed_on_host(Buffer& buffer) {
    if (!buffer.on_device) return;
    buffer.on_device = false;
    bring(buffer, Place::device);
}

void SplitOps::from_host(Tensor x) {
    Buffer* const buffer = x.rows() == 0 ? nullptr : find_buffer(x.host());
    if (buffer != nullptr) changed_on_host(*buffer);
}

void SplitOps::to_host(const ExpertSlots& slots) {
    if (slots.rows == 0) return;
    input_slots(slots.experts, Place::host);
    input_slots(slots.weights, Place::host);
    input_slots(slots.margins, Place::host);
}

void SplitOps::from_host(const ExpertSlots& slots) {
    if (slots.rows == 0) return;
    changed_on_host(buffer_of(slots.experts));
    changed_on_host(buffer_of(slots.weights));
    changed_on_host(buffer_of(slots.margins));
}

void SplitOps::each_page(const SequenceState& cache, int layer, const Batch& batch,
                         const std::function<void(std::byte*, std::byte*, int64_t)>& use) {
    if (cache.place(layer) == Place::host || settings_.measuring) return;
    const LayerPlace& place = cache.layer_place(layer);
    const StateMemory::Pool& pool = cache.pool(layer);
    for (size_t i = 0; i < batch.rows.size(); ++i) {
        const int32_t sequence = batch.rows[i].sequence;
        if (i > 0 && sequence == batch.rows[i - 1].sequence) continue;
        for (const int32_t unit : cache.pages_of(sequence, layer)) {  // a recurrence has one, its slot
            if (unit == kNoUnit) continue;
            const int64_t start = unit * pool.unit_bytes + place.keys;
            use(pool.copy.get() + start, pool.memory.get() + start, cache.layer_bytes(layer));
        }
    }
}

void SplitOps::to_host(const SequenceState& cache, int layer, const Batch& batch) {
    each_page(cache, layer, batch, [&](std::byte* host, std::byte* device, int64_t bytes) {
        keep(settings_.accelerator.download(host, device, bytes));
    });
}

void SplitOps::from_host(const SequenceState& cache, int layer, const Batch& batch) {
    each_page(cache, layer, batch, [&](std::byte* host, std::byte* device, int64_t bytes) {
        keep(settings_.accelerator.upload(device, host, bytes));
    });
}

std::optional<WeightMatrix> SplitOps::host_matrix(const WeightMatrix& weight) {
    if (weight.place() == Place::host) return std::nullopt;
    return settings_.source.matrix(weight.id);
}

std::optional<WeightStack> SplitOps::host_stack(const WeightStack& weight) {
    if (weight.first.place() == Place::host) return std::nullopt;
    return settings_.source.stack(weight.first.id);
}

std::optional<WeightVector> SplitOps::host_vector(const WeightVector& weight) {
    if (weight.place == Place::host) return std::nullopt;
    return settings_.source.vector(weight.id);
}

// ---- calls

Place SplitOps::place_of(const VerbCall& call) {
    switch (row_of(call.verb).placed_by) {
        case PlacedBy::weight:
            if (call.weights() == nullptr && call.vector == nullptr) return place_of(call.x, call.x);
            return call.weight_place();
        case PlacedBy::cache:
            return call.cache_read->place(call.cache_layer);
        case PlacedBy::data:
            return place_of(call.x, call.x2.rows() == 0 ? call.x : call.x2);
    }
    return Place::host;
}

VerbCall SplitOps::moved(const VerbCall& call, Place place) {
    const VerbRow& row = row_of(call.verb);
    VerbCall there = call;
    if (row.reads(verb_field::x)) there.x = input(row.in_place() ? call.out : call.x, place);
    if (row.reads(verb_field::x2)) there.x2 = input(call.x2, place);
    if (row.reads(verb_field::experts)) there.slots.experts = input_slots(call.slots.experts, place);
    if (row.reads(verb_field::weights)) there.slots.weights = input_slots(call.slots.weights, place);
    there.vector = vector_at(call.vector, place);
    there.vector2 = vector_at(call.vector2, place);
    there.vector3 = vector_at(call.vector3, place);
    if (row.makes(verb_field::slots)) there.slots = result_slots(call.slots, place);
    if (row.makes(verb_field::out)) there.out = result(call.out, place);
    return there;
}

void SplitOps::run(const VerbCall& call) {
    const Place place = place_of(call);
    const VerbCall there = moved(call, place);
    run_at(place, std::span(&there, 1));
}

void SplitOps::run_together(std::span<const VerbCall> calls) {
    const Place place = place_of(calls.front());
    for (const VerbCall& call : calls) {
        if (place_of(call) != place) return Ops::run_together(calls);
    }
    std::array<VerbCall, kMostTogether> there;
    for (size_t i = 0; i < calls.size(); ++i) {
        VerbCall call = calls[i];
        if (i > 0) call.x = calls.front().x;  // an observer may have replaced the input of the first call
        there[i] = moved(call, place);
    }
    run_at(place, std::span(there).first(calls.size()));
}

}  // namespace invar
