// The device's verbs for models whose weights lie in host memory, as in tests: every weight is packed and uploaded when
// it is first used. Scratch, routing and the cache are the device's.
#pragma once

#include <deque>
#include <map>
#include <memory>

#include "cpu/verb_case.h"
#include "cuda/cuda_ops.h"
#include "cuda/weight_layout.h"
#include "cuda/weight_packing.h"

namespace invar {

class DeviceOps final : public Ops {
  public:
    DeviceOps(Device& device, CudaOps& inner) : device_(device), inner_(inner) {}

    Tensor scratch(int64_t rows, int64_t width) override { return inner_.scratch(rows, width); }
    ExpertSlots scratch_slots(int64_t rows, int k) override { return inner_.scratch_slots(rows, k); }
    void begin_pass() override { inner_.begin_pass(); }
    std::optional<NonFinite> failure() const override { return inner_.failure(); }
    void run(const VerbCall& call) override { inner_.run(moved(call)); }
    void run_together(std::span<const VerbCall> calls) override {
        std::vector<VerbCall> there;
        for (const VerbCall& call : calls) there.push_back(moved(call));
        inner_.run_together(there);
    }
    Result<void> finish() override { return inner_.finish(); }

  private:
    VerbCall moved(VerbCall call) {
        if (call.matrix != nullptr) call.matrix = &matrices_.emplace_back(on_device(*call.matrix));
        for (const WeightVector** vector : {&call.vector, &call.vector2, &call.vector3})
            if (*vector != nullptr) *vector = &vectors_.emplace_back(on_device(**vector));
        if (call.stack != nullptr) {
            WeightStack& stack = stacks_.emplace_back(*call.stack);
            std::vector<WeightMatrix> each;
            for (int64_t i = 0; i < call.stack->count; ++i) {
                each.push_back(call.stack->at(i));
                each.back().row_scales = nullptr;  // brought below, with all experts'
            }
            stack.first = on_device(each);
            stack.stride_bytes = stack.first.bytes;
            stack.scales = bring_floats(call.stack->scales, stack.count);
            stack.first.row_scales = bring_floats(call.stack->first.row_scales, stack.count * stack.first.rows);
            call.stack = &stack;
        }
        return call;
    }
    DeviceBytes bring(const void* from, int64_t bytes) {
        auto memory = device_.allocate(bytes, "a test's weight");
        CHECK(memory.has_value() && device_.upload(memory->get(), from, bytes).has_value(), "the tests' weights fit");
        return *memory;
    }
    const float* bring_floats(const float* values, int64_t count) {
        if (values == nullptr) return nullptr;
        DeviceBytes& place = places_[values];
        if (!place) place = bring(values, count * 4);
        return reinterpret_cast<const float*>(place.get());
    }
    WeightMatrix on_device(const WeightMatrix& matrix) { return on_device(std::vector<WeightMatrix>{matrix}); }
    // Matrices of one shape, one behind the other; `bytes` of the result is one's.
    WeightMatrix on_device(const std::vector<WeightMatrix>& matrices) {
        WeightMatrix moved = matrices[0];
        moved.form = StoredForm::device_lanes;
        moved.bytes = cuda::device_weight_bytes(moved.format->id, moved.rows, moved.columns);
        DeviceBytes& place = places_[matrices[0].data];
        if (!place) {
            std::vector<std::byte> packed(static_cast<size_t>(moved.bytes) * matrices.size());
            for (size_t i = 0; i < matrices.size(); ++i) {
                const int64_t row_bytes = moved.format->row_bytes(moved.columns);
                std::vector<std::byte> stored(static_cast<size_t>(row_bytes * moved.rows));
                for (int64_t row = 0; row < moved.rows; ++row) {
                    std::byte* to = stored.data() + row * row_bytes;
                    if (matrices[i].form == StoredForm::rows4) {
                        unpack_row(*moved.format, matrices[i].data, moved.rows, moved.columns, row, to);
                    } else {
                        std::memcpy(to, matrices[i].data + row * row_bytes, static_cast<size_t>(row_bytes));
                    }
                }
                cuda::pack_weights(*moved.format, stored.data(), moved.rows, moved.columns, 0,
                                   cuda::groups_of(moved.rows), packed.data() + static_cast<int64_t>(i) * moved.bytes);
            }
            place = bring(packed.data(), static_cast<int64_t>(packed.size()));
        }
        moved.data = place.get();
        moved.row_scales = bring_floats(moved.row_scales, moved.rows);
        return moved;
    }
    WeightVector on_device(const WeightVector& vector) {
        WeightVector moved = vector;
        DeviceBytes& place = places_[vector.data];
        if (!place) place = bring(vector.data, vector.size * 4);
        moved.data = reinterpret_cast<const float*>(place.get());
        return moved;
    }

    Device& device_;
    CudaOps& inner_;
    std::map<const void*, DeviceBytes> places_;
    std::deque<WeightMatrix> matrices_;  // what calls point to
    std::deque<WeightStack> stacks_;
    std::deque<WeightVector> vectors_;
};

// A device with its verbs.
struct DeviceBackend {
    std::unique_ptr<Device> device;
    std::unique_ptr<CudaOps> cuda;
    std::unique_ptr<DeviceOps> ops;

    static DeviceBackend make(int64_t chunk_result_bytes = int64_t{8} << 20) {
        DeviceBackend backend;
        auto device = Device::open(0);
        CHECK(device.has_value(), "there is an emulated device");
        backend.device = std::move(*device);
        auto cuda = CudaOps::create({.device = *backend.device,
                                     .scratch_bytes = int64_t{24} << 20,
                                     .rows = 1024,
                                     .sequences = 8,
                                     .page_tables = 3,
                                     .positions = 1024,
                                     .chunk_result_bytes = chunk_result_bytes,
                                     .ranked_rows = 6});
        CHECK(cuda.has_value(), "the tests' scratch fits");
        backend.cuda = std::move(*cuda);
        backend.ops = std::make_unique<DeviceOps>(*backend.device, *backend.cuda);
        return backend;
    }

    std::unique_ptr<SequenceState> make_cache(const std::vector<KvGeometry>& layers, CacheType type,
                                              int64_t pages) const {
        return make_state({.layers = layers, .recurrences = {}, .type = type, .places = {}}, pages);
    }
    // The state of layers that are all on the device, with so many units of every group.
    std::unique_ptr<SequenceState> make_state(StateGeometry geometry, int64_t count) const {
        geometry.places.assign(geometry.layers.size(), Place::device);
        const auto layout = lay_out_state(geometry);
        CHECK(layout.has_value(), "the tests' layers are possible");
        const std::vector<int64_t> units(layout->groups.size(), count);
        auto memory = device->allocate(state_bytes(layout->groups, units, Place::device), "a test's cache");
        CHECK(memory.has_value(), "the tests' caches fit");
        DevicePart part{.memory = *memory, .upload = {}, .download = {}};
        part.upload = [on = device.get()](std::byte* to, const void* from, int64_t bytes) {
            return on->upload(to, from, bytes);
        };
        part.download = [on = device.get()](void* to, const std::byte* from, int64_t bytes) {
            return on->download(to, from, bytes);
        };
        auto cache = SequenceState::create(
            {.geometry = std::move(geometry), .units = units, .digest = {}, .device = std::move(part)});
        CHECK(cache.has_value(), "the tests' caches fit");
        return std::move(*cache);
    }
    // The recurrence of a layer, as the device has it.
    std::vector<float> recurrence(const SequenceState& cache, int32_t sequence, int layer) const {
        std::vector<float> values(cache.recurrence(sequence, layer).size());
        const StateMemory::Pool& pool = cache.pool(layer);
        const std::byte* from = pool.memory.get() + cache.pages_of(sequence, layer).front() * pool.unit_bytes +
                                cache.layer_place(layer).keys;
        CHECK(device->download(values.data(), from, static_cast<int64_t>(values.size() * 4)).has_value(), "copied");
        return values;
    }
    // A tensor of this device with these values.
    Tensor tensor(int64_t rows, int64_t width, const std::vector<float>& values) const {
        const Tensor made = cuda->scratch(rows, width);
        CHECK(device->upload(reinterpret_cast<std::byte*>(made.device()), values.data(), rows * width * 4).has_value(),
              "copied");
        return made;
    }
    // Its values; fails the test if the device found a fault.
    std::vector<float> read(Tensor from) const {
        auto values = cuda->read(from);
        if (!values) ADD_FAILURE() << values.error().message;
        return values ? *values : std::vector<float>(static_cast<size_t>(from.rows() * from.width()));
    }
};

}  // namespace invar
