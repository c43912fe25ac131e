// Device verbs for models whose weights lie in host memory, as tests have them: every weight is packed and brought to
// the device when it is first used, and forwarded. Scratch, routing and the cache are the device's.
#pragma once

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
    void embed(Stage stage, const WeightMatrix& table, const Batch& batch, Tensor out) override {
        inner_.embed(stage, on_device(table), batch, out);
    }
    void rms_norm(Stage stage, Tensor x, const WeightVector& weight, float epsilon, Tensor y) override {
        inner_.rms_norm(stage, x, on_device(weight), epsilon, y);
    }
    void linear(Stage stage, const WeightMatrix& weight, Tensor x, Tensor y) override {
        inner_.linear(stage, on_device(weight), x, y);
    }
    void linear_many(std::span<const LinearJob> jobs, Tensor x) override {
        std::vector<WeightMatrix> weights;
        for (const LinearJob& job : jobs) weights.push_back(on_device(*job.weight));
        std::vector<LinearJob> moved(jobs.begin(), jobs.end());
        for (size_t i = 0; i < moved.size(); ++i) moved[i].weight = &weights[i];
        inner_.linear_many(moved, x);
    }
    void add_bias(Stage stage, Tensor y, const WeightVector& bias) override {
        inner_.add_bias(stage, y, on_device(bias));
    }
    void rope(Stage stage, const RopeTable& table, const Batch& batch, Tensor x) override {
        inner_.rope(stage, table, batch, x);
    }
    void store_kv(Stage stage, int layer, const Batch& batch, Tensor keys, Tensor values, KvCache& cache) override {
        inner_.store_kv(stage, layer, batch, keys, values, cache);
    }
    void attention(Stage stage, const AttentionCall& spec, const Batch& batch, Tensor queries, const KvCache& cache,
                   Tensor out) override {
        inner_.attention(stage, spec, batch, queries, cache, out);
    }
    void silu_multiply(Stage stage, Tensor gate, Tensor up, Tensor out) override {
        inner_.silu_multiply(stage, gate, up, out);
    }
    void add(Stage stage, Tensor x, Tensor y) override { inner_.add(stage, x, y); }
    void route(Stage stage, const RouteSpec& spec, Tensor logits, ExpertSlots slots) override {
        inner_.route(stage, spec, logits, slots);
    }
    void expert_linear(Stage stage, const WeightStack& experts, const ExpertSlots& slots, SlotInput input, Tensor x,
                       Tensor out) override {
        WeightStack moved = experts;
        std::vector<WeightMatrix> each;
        for (int64_t i = 0; i < experts.count; ++i) each.push_back(experts.at(i));
        moved.first = on_device(each);
        moved.stride_bytes = moved.first.bytes;
        inner_.expert_linear(stage, moved, slots, input, x, out);
    }
    void combine_experts(Stage stage, const ExpertSlots& routing, Tensor slots, Tensor y) override {
        inner_.combine_experts(stage, routing, slots, y);
    }
    void gather_rows(Stage stage, Tensor x, std::span<const int32_t> rows, Tensor out) override {
        inner_.gather_rows(stage, x, rows, out);
    }

  private:
    DeviceBytes bring(const void* from, int64_t bytes) {
        auto memory = device_.allocate(bytes, "a test's weight");
        CHECK(memory.has_value() && device_.upload(memory->get(), from, bytes).has_value(), "the tests' weights fit");
        return *memory;
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
                                     .page_tables = 2,
                                     .positions = 1024,
                                     .chunk_result_bytes = chunk_result_bytes,
                                     .ranked_rows = 6});
        CHECK(cuda.has_value(), "the tests' scratch fits");
        backend.cuda = std::move(*cuda);
        backend.ops = std::make_unique<DeviceOps>(*backend.device, *backend.cuda);
        return backend;
    }

    std::unique_ptr<KvCache> make_cache(const std::vector<KvGeometry>& layers, CacheType type, int64_t pages) const {
        const StateGeometry geometry{.layers = layers,
                                     .recurrences = {},
                                     .type = type,
                                     .places = std::vector<Place>(layers.size(), Place::device)};
        const auto layout = lay_out_state(geometry);
        CHECK(layout.has_value(), "the tests' layers are possible");
        const std::vector<int64_t> units(layout->groups.size(), pages);
        auto memory = device->allocate(state_bytes(layout->groups, units, Place::device), "a test's cache");
        CHECK(memory.has_value(), "the tests' caches fit");
        auto cache =
            SequenceState::create({.geometry = geometry, .units = units, .digest = {}, .device = {.memory = *memory}});
        CHECK(cache.has_value(), "the tests' caches fit");
        return std::move(*cache);
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
