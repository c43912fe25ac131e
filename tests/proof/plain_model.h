// A whole model in a few loops of doubles, written for the tests of the reference alone: no verbs, no batches, no KV
// cache, all positions at once, everything recomputed in each layer. It reads the F32 tensors of tiny_model.h files by
// name and knows the families by their tensors, so it shares neither src/ops nor src/arithmetic nor src/proof.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "files/checkpoint.h"
#include "models/tiny_model.h"

namespace invar::test {

using Vector64 = std::vector<double>;
using Rows64 = std::vector<Vector64>;  // one a position

class PlainModel {
  public:
    PlainModel(const Checkpoint& file, const TinyModel& shape) : file_(file), shape_(shape) {}

    // Logits of every position.
    Rows64 logits(const std::vector<int32_t>& tokens) const {
        Rows64 x;
        const Vector64 table = tensor("token_embd.weight");
        for (const int32_t token : tokens) {
            const auto row = table.begin() + token * shape_.width;
            x.emplace_back(row, row + shape_.width);
        }
        for (int64_t layer = 0; layer < shape_.layers; ++layer) {
            const std::string block = "blk." + std::to_string(layer) + ".";
            add(x, attention(normed(x, block + "attn_norm.weight"), block));
            add(x, ffn(normed(x, block + "ffn_norm.weight"), block));
        }
        const bool tied = file_.find("output.weight") == nullptr;
        return product(normed(x, "output_norm.weight"), tensor(tied ? "token_embd.weight" : "output.weight"));
    }

  private:
    Vector64 tensor(const std::string& name) const {
        const TensorInfo* info = file_.find(name);
        CHECK(info != nullptr && info->format->id == FormatId::f32, "tiny models for this are F32");
        std::vector<float> values(static_cast<size_t>(info->bytes) / 4);
        std::memcpy(values.data(), info->data, static_cast<size_t>(info->bytes));
        return {values.begin(), values.end()};
    }
    bool has(const std::string& name) const { return file_.find(name) != nullptr; }

    static void add(Rows64& x, const Rows64& y) {
        for (size_t t = 0; t < x.size(); ++t)
            for (size_t i = 0; i < x[t].size(); ++i) x[t][i] += y[t][i];
    }
    static Vector64 product(const Vector64& x, const double* weights, size_t rows) {
        Vector64 y(rows);
        for (size_t r = 0; r < rows; ++r) y[r] = std::inner_product(x.begin(), x.end(), weights + r * x.size(), 0.0);
        return y;
    }
    static Rows64 product(const Rows64& x, const Vector64& weights) {
        Rows64 y;
        for (const Vector64& row : x) y.push_back(product(row, weights.data(), weights.size() / row.size()));
        return y;
    }
    Rows64 normed(Rows64 x, const std::string& name) const {
        const Vector64 weight = tensor(name);
        for (Vector64& row : x) {
            for (size_t first = 0; first < row.size(); first += weight.size()) {
                double squares = 0;
                for (size_t i = 0; i < weight.size(); ++i) squares += std::pow(row[first + i], 2);
                const double factor = 1 / std::sqrt(squares / static_cast<double>(weight.size()) + double{1e-5f});
                for (size_t i = 0; i < weight.size(); ++i) row[first + i] *= factor * weight[i];
            }
        }
        return x;
    }

    void turn(Rows64& x) const {
        const auto width = static_cast<size_t>(shape_.head_width), half = width / 2;
        const bool adjacent = shape_.architecture == "llama";
        for (size_t t = 0; t < x.size(); ++t) {
            for (size_t head = 0; head < x[t].size(); head += width) {
                for (size_t i = 0; i < half; ++i) {
                    const double angle = static_cast<double>(t) / std::pow(10000.0, static_cast<double>(i) / half);
                    double& a = x[t][head + (adjacent ? 2 * i : i)];
                    double& b = x[t][head + (adjacent ? 2 * i + 1 : i + half)];
                    const double turned = a * std::cos(angle) - b * std::sin(angle);
                    b = a * std::sin(angle) + b * std::cos(angle);
                    a = turned;
                }
            }
        }
    }

    Rows64 project(const Rows64& x, const std::string& block, const std::string& name) const {
        Rows64 y = product(x, tensor(block + name + ".weight"));
        if (has(block + name + ".bias")) add(y, Rows64(y.size(), tensor(block + name + ".bias")));
        if (has(block + name + "_norm.weight")) y = normed(y, block + name + "_norm.weight");
        return y;
    }

    Rows64 attention(const Rows64& x, const std::string& block) const {
        Rows64 query = project(x, block, "attn_q"), key = project(x, block, "attn_k");
        const Rows64 value = project(x, block, "attn_v");
        turn(query);
        turn(key);
        const auto width = static_cast<size_t>(shape_.head_width);
        const auto group = static_cast<size_t>(shape_.heads / shape_.kv_heads);
        Rows64 mixed(x.size(), Vector64(query[0].size()));
        for (size_t t = 0; t < x.size(); ++t) {
            for (size_t head = 0; head < static_cast<size_t>(shape_.heads); ++head) {
                const size_t kv = head / group * width;
                Vector64 share(t + 1);
                for (size_t p = 0; p <= t; ++p) {
                    double score = 0;
                    for (size_t i = 0; i < width; ++i) score += query[t][head * width + i] * key[p][kv + i];
                    share[p] = std::exp(score / std::sqrt(static_cast<double>(width)));
                }
                const double total = std::accumulate(share.begin(), share.end(), 0.0);
                for (size_t p = 0; p <= t; ++p)
                    for (size_t i = 0; i < width; ++i)
                        mixed[t][head * width + i] += share[p] / total * value[p][kv + i];
            }
        }
        return product(mixed, tensor(block + "attn_output.weight"));
    }

    static Vector64 gated(const Vector64& x, const double* gate, const double* up, const double* down, size_t hidden) {
        Vector64 a = product(x, gate, hidden);
        const Vector64 b = product(x, up, hidden);
        for (size_t i = 0; i < hidden; ++i) a[i] = a[i] / (1 + std::exp(-a[i])) * b[i];
        return product(a, down, x.size());
    }

    Rows64 ffn(const Rows64& x, const std::string& block) const {
        Rows64 y;
        const bool dense = shape_.experts == 0;
        const std::string suffix = dense ? ".weight" : "_exps.weight";
        const Vector64 gate = tensor(block + "ffn_gate" + suffix), up = tensor(block + "ffn_up" + suffix);
        const Vector64 down = tensor(block + "ffn_down" + suffix);
        for (const Vector64& row : x) {
            if (dense) {
                y.push_back(gated(row, gate.data(), up.data(), down.data(), static_cast<size_t>(shape_.ffn)));
                continue;
            }
            const auto count = static_cast<size_t>(shape_.experts), hidden = static_cast<size_t>(shape_.expert_width);
            const Vector64 logits = product(row, tensor(block + "ffn_gate_inp.weight").data(), count);
            std::vector<size_t> order(count);
            std::iota(order.begin(), order.end(), size_t{0});
            std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
            order.resize(static_cast<size_t>(shape_.experts_used));
            double total = 0;
            for (const size_t expert : order) total += std::exp(logits[expert]);
            Vector64 sum(row.size());
            for (const size_t expert : order) {
                const size_t first = expert * hidden * row.size();
                const Vector64 out = gated(row, gate.data() + first, up.data() + first, down.data() + first, hidden);
                for (size_t i = 0; i < sum.size(); ++i) sum[i] += std::exp(logits[expert]) / total * out[i];
            }
            y.push_back(sum);
        }
        return y;
    }

    const Checkpoint& file_;
    const TinyModel& shape_;
};

}  // namespace invar::test
