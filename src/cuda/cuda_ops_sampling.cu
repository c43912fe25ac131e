// The first tokens of rows of logits: one upload of the requests, a few launches, one small download. See
// preselection.cuh.
#include <algorithm>
#include <bit>

#include "base/check.h"
#include "cuda/cuda_ops_control.cuh"
#include "cuda/preselection.cuh"

namespace invar {

using namespace cuda;

namespace {

constexpr int64_t kRowBytes = sizeof(PreselectRow), kEditBytes = sizeof(LogitEdit);
static_assert(kRowBytes == 24 && kEditBytes == 20);

int64_t blocks_of(int64_t keys) { return (keys + kSortKeys - 1) / kSortKeys; }

RankedLogit ranked_of(uint64_t key) {
    const auto order = static_cast<uint32_t>(key >> 32);
    const uint32_t bits = (order & 0x80000000u) != 0 ? order & 0x7FFFFFFFu : ~order;
    return {.token = static_cast<int32_t>(0xFFFFFFFFu - static_cast<uint32_t>(key)),
            .logit = std::bit_cast<float>(bits)};
}

}  // namespace

Result<std::vector<RankedLogits>> CudaOps::preselect(Tensor logits, std::span<const Preselection> requests) {
    const auto rows = static_cast<int64_t>(requests.size());
    CHECK(rows == logits.rows() && logits.width() < (int64_t{1} << 31), "each row of logits has a request");
    if (rows == 0) return std::vector<RankedLogits>();
    int count = 1;
    std::vector<PreselectRow> numbers;
    std::vector<LogitEdit> edits;
    for (const Preselection& request : requests) {
        CHECK(request.count >= 1 && request.count <= kMostPreselected && request.edits.size() <= kMostLogitEdits,
              "a request is for 1 to 256 tokens, and the plan has room for 4096 edits");
        count = std::max(count, request.count);
        numbers.push_back({.first_edit = static_cast<int32_t>(edits.size()),
                           .edits = static_cast<int32_t>(request.edits.size()),
                           .repetition = request.repetition_penalty,
                           .frequency = request.frequency_penalty,
                           .presence = request.presence_penalty,
                           .temperature = request.temperature});
        edits.insert(edits.end(), request.edits.begin(), request.edits.end());
    }
    const int64_t before = taken_, vocabulary = logits.width(), edit_count = static_cast<int64_t>(edits.size());
    const auto make = [&](int64_t elements) { return simt::global(take_elements<uint64_t>(elements), elements); };
    const int64_t answers = rows * (1 + count);
    auto* const answer_place = take_elements<uint64_t>(answers);
    const auto answer = simt::global(answer_place, answers);  // what was wrong, then the tokens: one download
    std::byte* const asked = take(rows * kRowBytes + edit_count * kEditBytes);
    int64_t keys = blocks_of(vocabulary) * count;
    auto from = make(rows * keys), to = make(rows * blocks_of(keys) * count);
    taken_ = before;  // whoever takes it next is launched later
    if (settings_.measuring) return std::vector<RankedLogits>();

    Device& device = settings_.device;
    std::vector<std::byte> upload(static_cast<size_t>(rows * kRowBytes + edit_count * kEditBytes));
    std::memcpy(upload.data(), numbers.data(), static_cast<size_t>(rows * kRowBytes));
    if (edit_count > 0)
        std::memcpy(upload.data() + rows * kRowBytes, edits.data(), static_cast<size_t>(edit_count * kEditBytes));
    keep(device.upload(asked, upload.data(), static_cast<int64_t>(upload.size())));
    std::vector<uint64_t> answered(static_cast<size_t>(answers), kNoFailure);
    keep(device.upload(reinterpret_cast<std::byte*>(answer_place), answered.data(), rows * 8));

    const simt::Stream stream = stream_of(device);
    const auto grid = [&](int64_t of_keys, const char* name) {
        return simt::Grid{.x = static_cast<int>(blocks_of(of_keys)),
                          .y = static_cast<int>(rows),
                          .threads = kSortThreads,
                          .name = name};
    };
    const bool one_round = blocks_of(vocabulary) == 1;
    simt::launch(
        stream, grid(vocabulary, "preselect"), preselect_kernel,
        PreselectArgs{.logits = rows_of(logits),
                      .vocabulary = vocabulary,
                      .rows = simt::global(reinterpret_cast<const PreselectRow*>(asked), rows),
                      .edits = simt::global(reinterpret_cast<const LogitEdit*>(asked + rows * kRowBytes), edit_count),
                      .count = count,
                      .wrong = answer,
                      .keys = one_round ? answer + rows : from});
    while (keys > count) {
        const bool last = blocks_of(keys) == 1;
        simt::launch(stream, grid(keys, "keep_first"), keep_first_kernel,
                     KeepFirstArgs{.from = from, .keys = keys, .count = count, .to = last ? answer + rows : to});
        keys = blocks_of(keys) * count;
        std::swap(from, to);
    }
    TRY(device_error());
    TRY(device.download(answered.data(), reinterpret_cast<const std::byte*>(answer_place), answers * 8));
    std::vector<RankedLogits> results(static_cast<size_t>(rows));
    for (int64_t row = 0; row < rows; ++row) {
        RankedLogits& result = results[static_cast<size_t>(row)];
        const uint64_t wrong = answered[static_cast<size_t>(row)];
        if (wrong != kNoFailure)
            result.wrong = RankedLogit{.token = static_cast<int32_t>(wrong >> 32),
                                       .logit = std::bit_cast<float>(static_cast<uint32_t>(wrong))};
        const uint64_t* const of_row = answered.data() + rows + row * count;
        for (int i = 0; i < requests[static_cast<size_t>(row)].count && of_row[i] != kNoKey; ++i)
            result.first.push_back(ranked_of(of_row[i]));
    }
    return results;
}

}  // namespace invar
