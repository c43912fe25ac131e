// The public face of a device: each call makes the device the thread's current one and then calls the implementation.
// See device.h.
#include "cuda/device_implementation.h"
#include "cuda/device_stream.cuh"

namespace invar {

// A launch returns no result; the next wait does.
simt::Stream cuda::stream_of(Device& device) {
    DeviceImplementation& implementation = device.implementation();
    Result<void> current = implementation.make_current();
    if (!current && implementation.failed) implementation.failed = std::move(current);
    return implementation.stream();
}

Device::Device(std::unique_ptr<DeviceImplementation> implementation) : implementation_(std::move(implementation)) {}
Device::~Device() = default;

Result<DeviceFacts> Device::facts() const {
    TRY(implementation_->make_current());
    return implementation_->facts();
}

Result<DeviceBytes> Device::allocate(int64_t bytes, std::string_view what) {
    TRY(implementation_->make_current());
    return implementation_->allocate(bytes, what);
}

Result<void> Device::upload(std::byte* to, const void* from, int64_t bytes) {
    if (implementation_->recording)
        return fail(ErrorKind::internal, "nothing can be copied to the device while a pass is recorded");
    TRY(implementation_->make_current());
    return implementation_->upload(to, from, bytes);
}

Result<void> Device::download(void* to, const std::byte* from, int64_t bytes) {
    if (implementation_->recording)
        return fail(ErrorKind::internal, "nothing can be copied from the device while a pass is recorded");
    TRY(implementation_->make_current());
    TRY(implementation_->download(to, from, bytes));
    return wait();
}

Result<void> Device::upload_filled(std::byte* to, int64_t bytes, const FillPiece& fill) {
    if (implementation_->recording)
        return fail(ErrorKind::internal, "nothing can be copied to the device while a pass is recorded");
    TRY(implementation_->make_current());
    return implementation_->upload_filled(to, bytes, fill);
}

Result<std::unique_ptr<DeviceTimer>> Device::make_timer() {
    TRY(implementation_->make_current());
    return implementation_->make_timer();
}

Result<void> Device::begin_recording() {
    TRY(implementation_->make_current());
    implementation_->recording = true;
    return implementation_->begin_recording();
}

Result<std::unique_ptr<DeviceGraph>> Device::end_recording() {
    TRY(implementation_->make_current());
    implementation_->recording = false;
    return implementation_->end_recording();
}

Result<void> Device::replay(const DeviceGraph& graph) {
    TRY(implementation_->make_current());
    return implementation_->replay(graph);
}

Result<void> Device::begin_timing() {
    if (implementation_->recording)
        return fail(ErrorKind::internal, "kernels cannot be timed while a pass is recorded");
    TRY(implementation_->make_current());
    implementation_->mark = 0;
    return implementation_->begin_timing();
}

void Device::mark_kernels(int64_t mark) { implementation_->mark = mark; }

Result<std::vector<KernelTime>> Device::end_timing() {
    TRY(implementation_->make_current());
    return implementation_->end_timing();
}

Result<void> Device::wait() {
    if (implementation_->recording)
        return fail(ErrorKind::internal, "nothing can be waited for while a pass is recorded");
    TRY(implementation_->make_current());
    TRY(implementation_->failed);
    return implementation_->wait();
}

}  // namespace invar
