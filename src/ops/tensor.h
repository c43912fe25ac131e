// Activations: a binary32 matrix with one row per token (or per expert slot of a token, or per head). A Tensor is a
// view into scratch memory of the Ops that made it. Models pass tensors on and never read them; kernels and the
// recorder do.
#pragma once

#include <cstdint>

#include "base/check.h"
#include "base/place.h"

namespace invar {

class Tensor {
  public:
    Tensor() = default;
    Tensor(float* data, Place place, int64_t rows, int64_t width, int64_t stride)
        : data_(data), rows_(rows), width_(width), stride_(stride), place_(place) {}

    int64_t rows() const { return rows_; }
    int64_t width() const { return width_; }
    int64_t stride() const { return stride_; }  // elements from one row to the next
    Place place() const { return place_; }

    float* host() const {
        CHECK(place_ == Place::host, "only host tensors are read on the host");
        return data_;
    }
    float* host_row(int64_t row) const { return host() + row * stride_; }
    float* device() const {
        CHECK(place_ == Place::device, "only device tensors are passed to device kernels");
        return data_;
    }

    Tensor columns(int64_t first, int64_t count) const { return {data_ + first, place_, rows_, count, stride_}; }
    // The same memory with narrower rows that lie without gaps, as those of this tensor must.
    Tensor packed(int64_t width) const {
        CHECK(stride_ == width_ && width <= width_, "rows without gaps become narrower");
        return {data_, place_, rows_, width, width};
    }
    // Cuts each row into `count` equal pieces, each a row of the result: the heads of a query, say. The rows must lie
    // without gaps.
    Tensor pieces(int64_t count) const {
        CHECK(stride_ == width_ && count > 0 && width_ % count == 0, "rows without gaps are cut into equal pieces");
        return {data_, place_, rows_ * count, width_ / count, width_ / count};
    }
    Tensor row_range(int64_t first, int64_t count) const {
        return {data_ + first * stride_, place_, count, width_, stride_};
    }

  private:
    float* data_ = nullptr;
    int64_t rows_ = 0, width_ = 0, stride_ = 0;
    Place place_ = Place::host;
};

}  // namespace invar
