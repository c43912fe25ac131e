// The mathematics of float64_math.h. Sums run in rising order, products of weights as two interleaved sums.
#include "proof/reference64/float64_math.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numbers>
#include <numeric>

#include "arithmetic/quantize.h"
#include "layout/rows4.h"

namespace invar::float64 {
namespace {

// Two doubles are a vector that every x86-64 has, so this file needs no instruction set of its own and gives the same
// bits everywhere. Eight vectors in flight keep two adders busy: 6 GMAC/s per core in batches of 100 rows. A single row
// waits for its weights to be decoded: 0.2 to 0.5 GMAC/s.
using Pair = double __attribute__((vector_size(16)));

Pair load(const double* from) {
    Pair pair;
    std::memcpy(&pair, from, sizeof pair);
    return pair;
}

// out[t][r] = weights[r] . x[t]. Each element has its own accumulator, so the shape of the tiles changes no bit.
template <int Rows, int Tokens>
void dot_tile(const double* weights, int64_t columns, const double* const* x, double (*out)[Rows]) {
    Pair sums[Tokens][Rows] = {};
    int64_t k = 0;
    for (; k + 2 <= columns; k += 2) {
        Pair w[Rows];
        for (int r = 0; r < Rows; ++r) w[r] = load(weights + r * columns + k);
        for (int t = 0; t < Tokens; ++t) {
            const Pair activation = load(x[t] + k);
            for (int r = 0; r < Rows; ++r) sums[t][r] += w[r] * activation;
        }
    }
    for (int t = 0; t < Tokens; ++t) {
        for (int r = 0; r < Rows; ++r) {
            out[t][r] = sums[t][r][0] + sums[t][r][1];
            if (k < columns) out[t][r] += weights[r * columns + k] * x[t][k];
        }
    }
}

constexpr int kTileRows = 4, kTileTokens = 2;
static_assert(kProductRows % kTileRows == 0);

// The (real) index of the pair that makes `turns` turns in the original context.
double pair_that_turns(const RopeSpec& spec, double turns) {
    return spec.rotary_width * std::log(spec.original_context / (turns * 2 * std::numbers::pi)) /
           (2 * std::log(spec.base));
}

// The share of its own frequency that pair i keeps under YaRN: 1 if it turns often, 0 if it turns rarely.
double yarn_kept(const RopeSpec& spec, int pair) {
    double low = pair_that_turns(spec, spec.beta_fast), high = pair_that_turns(spec, spec.beta_slow);
    if (spec.whole_boundaries) {
        low = std::floor(low);
        high = std::ceil(high);
    }
    low = std::max(0.0, low);
    high = std::min(spec.rotary_width - 1.0, high);
    if (high == low) high += 0.001;
    return (1 - std::clamp((pair - low) / (high - low), 0.0, 1.0)) * spec.ext_factor;
}

// The scale of a row that is stored beside the format.
double scale_of_row(const WeightMatrix& matrix, int64_t row) {
    return double{matrix.scale} * (matrix.row_scales == nullptr ? 1.0 : double{matrix.row_scales[row]});
}

}  // namespace

std::vector<double> quantized(const double* x, int64_t columns) {
    std::vector<float> rounded(x, x + columns);
    std::vector<QuantizedBlock> blocks(static_cast<size_t>(columns / kDotBlock));
    quantize_row(rounded.data(), columns, blocks.data());
    std::vector<double> values;
    for (const QuantizedBlock& block : blocks) {
        for (const int8_t q : block.q) values.push_back(double{block.d} * q);
    }
    return values;
}

void RowDecoder::decode(const WeightMatrix& matrix, int64_t row, double* out) {
    const Format& format = *matrix.format;
    const int64_t bytes = format.row_bytes(matrix.columns);
    const std::byte* stored = matrix.data + row * bytes;
    if (matrix.form == StoredForm::rows4) {
        stored_.resize(static_cast<size_t>(bytes));
        unpack_row(format, matrix.data, matrix.rows, matrix.columns, row, stored_.data());
        stored = stored_.data();
    }
    decoded_.resize(static_cast<size_t>(matrix.columns));
    format.decode(stored, matrix.columns, decoded_.data());
    std::copy(decoded_.begin(), decoded_.end(), out);
}

void multiply(const Products& products, ProductRoom& room) {
    const WeightMatrix& matrix = products.matrix;
    const int64_t columns = matrix.columns;
    const auto tokens = static_cast<int64_t>(products.x.size());
    room.weights.resize(static_cast<size_t>(kProductRows * columns));
    for (int64_t done = 0; done < products.count; done += kProductRows) {
        const int64_t rows = std::min(kProductRows, products.count - done);
        for (int64_t r = 0; r < rows; ++r) {
            room.decoder.decode(matrix, products.first + done + r, room.weights.data() + r * columns);
        }
        // Rows past the end are multiplied too, and their results are dropped.
        for (int64_t t = 0; t < tokens; t += kTileTokens) {
            for (int64_t tile = 0; tile < rows; tile += kTileRows) {
                const double* weights = room.weights.data() + tile * columns;
                double out[kTileTokens][kTileRows];
                const int64_t present = std::min<int64_t>(kTileTokens, tokens - t);
                if (present == kTileTokens) {
                    dot_tile<kTileRows, kTileTokens>(weights, columns, products.x.data() + t, out);
                } else {
                    dot_tile<kTileRows, 1>(weights, columns, products.x.data() + t, out);
                }
                double* const* y = products.y.data() + t;
                const int64_t kept = std::min<int64_t>(kTileRows, rows - tile);
                for (int64_t i = 0; i < present; ++i) {
                    for (int64_t r = 0; r < kept; ++r) {
                        const int64_t row = products.first + done + tile + r;
                        y[i][row] = out[i][r] * scale_of_row(matrix, row);
                    }
                }
            }
        }
    }
}

void embed(const WeightMatrix& table, int64_t row, RowDecoder& decoder, double* out) {
    decoder.decode(table, row, out);
    for (int64_t i = 0; i < table.columns; ++i) out[i] *= scale_of_row(table, row);
}

void rms_norm(const double* x, const float* weight, int64_t group, double epsilon, double* y) {
    double squares = 0;
    for (int64_t i = 0; i < group; ++i) squares += x[i] * x[i];
    const double root = std::sqrt(squares / static_cast<double>(group) + epsilon);
    for (int64_t i = 0; i < group; ++i) y[i] = x[i] / root * (weight == nullptr ? 1.0 : weight[i]);
}

void l2_norm(const double* x, int64_t group, double epsilon, double* y) {
    double squares = 0;
    for (int64_t i = 0; i < group; ++i) squares += x[i] * x[i];
    const double root = std::sqrt(squares + epsilon);
    for (int64_t i = 0; i < group; ++i) y[i] = x[i] / root;
}

void layer_norm(const double* x, const float* weight, const float* bias, int64_t group, double epsilon, double* y) {
    const auto count = static_cast<double>(group);
    const double mean = std::accumulate(x, x + group, 0.0) / count;
    double squares = 0;
    for (int64_t i = 0; i < group; ++i) squares += (x[i] - mean) * (x[i] - mean);
    const double root = std::sqrt(squares / count + epsilon);
    for (int64_t i = 0; i < group; ++i) y[i] = (x[i] - mean) / root * weight[i] + (bias == nullptr ? 0.0 : bias[i]);
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); }

double activate(const ActivationSpec& spec, double x, const double* up) {
    const double factor = up == nullptr ? 1.0 : *up;
    switch (spec.kind) {
        case Activation::silu:
            return x * sigmoid(x) * factor;
        case Activation::gelu_tanh:
            return x / 2 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x))) * factor;
        case Activation::gelu:
            return x / 2 * std::erfc(-x / std::numbers::sqrt2) * factor;
        case Activation::relu_squared:
            return x > 0 || std::isnan(x) ? x * x * factor : 0.0;
        case Activation::sigmoid:
            return sigmoid(x) * factor;
        case Activation::identity:
            return x * factor;
        case Activation::clamped_swiglu: {
            const double limit = spec.limit, alpha = spec.alpha;
            const double gate = x > limit ? limit : x;
            const double linear = factor > limit ? limit : factor < -limit ? -limit : factor;
            return (linear + 1) * gate * sigmoid(alpha * gate);
        }
    }
    return std::numeric_limits<double>::quiet_NaN();
}

double position_scale(const PositionScale& spec, int64_t position) {
    return 1 + spec.beta * std::log1p(static_cast<double>((position + spec.offset) / spec.length));
}

Rope::Rope(const RopeSpec& spec) : spec_(spec) {
    for (int pair = 0; pair < spec.pairs(); ++pair) {
        double frequency = std::pow(spec.base, -2.0 * pair / spec.rotary_width);
        if (spec.turning_pairs > 0 && pair >= spec.turning_pairs) frequency = 0;
        const std::vector<float>& factors = spec.long_context ? spec.long_factors : spec.frequency_factors;
        if (!factors.empty()) frequency /= factors[static_cast<size_t>(pair)];
        if (spec.scaling == RopeSpec::Scaling::linear) frequency /= spec.factor;
        if (spec.scaling == RopeSpec::Scaling::yarn) {
            const double kept = yarn_kept(spec, pair);
            frequency = frequency * kept + frequency / spec.factor * (1 - kept);
        }
        frequencies_.push_back(frequency);
    }
    if (spec.scaling == RopeSpec::Scaling::yarn && spec.factor > 1) attention_factor_ = 0.1 * std::log(spec.factor) + 1;
    attention_factor_ *= spec.attn_factor;
}

void Rope::turn(int64_t position, double* row, int64_t width) const {
    const int pairs = spec_.pairs();
    for (int i = 0; i < pairs; ++i) {
        const double angle = static_cast<double>(position) * frequencies_[static_cast<size_t>(i)];
        const double cosine = std::cos(angle) * attention_factor_, sine = std::sin(angle) * attention_factor_;
        const int first = spec_.pairing == RopePairing::adjacent ? 2 * i : i;
        const int second = spec_.pairing == RopePairing::adjacent ? 2 * i + 1 : i + pairs;
        for (double* head = row; head < row + width; head += spec_.head_width) {
            const double a = head[first], b = head[second];
            head[first] = a * cosine - b * sine;
            head[second] = b * cosine + a * sine;
        }
    }
}

double meant_scale(float given, int64_t key_width) {
    const bool is_rounded_root = given == 1.0f / std::sqrt(static_cast<float>(key_width));
    return is_rounded_root ? 1 / std::sqrt(static_cast<double>(key_width)) : double{given};
}

void attention_scores(const AttentionHead& head, const double* query, RowAt key_at, std::vector<double>& scores) {
    scores.clear();
    for (int64_t position = head.visible.first; position < head.visible.last; ++position) {
        const double* key = key_at(position);
        double sums[4] = {};  // four sums in flight, because additions to one would wait for each other
        int64_t i = 0;
        for (; i + 4 <= head.key_width; i += 4) {
            for (int lane = 0; lane < 4; ++lane) sums[lane] += query[i + lane] * key[i + lane];
        }
        for (; i < head.key_width; ++i) sums[0] += query[i] * key[i];
        const double score = ((sums[0] + sums[1]) + (sums[2] + sums[3])) * head.scale;
        scores.push_back(head.softcap > 0 ? head.softcap * std::tanh(score / head.softcap) : score);
    }
}

void attend(const AttentionHead& head, const double* query, RowAt key_at, RowAt value_at, std::vector<double>& scores,
            double* out) {
    attention_scores(head, query, key_at, scores);
    double largest = *std::max_element(scores.begin(), scores.end());
    if (head.sink != nullptr) largest = std::max<double>(largest, *head.sink);
    double total = head.sink == nullptr ? 0.0 : std::exp(*head.sink - largest);
    for (double& score : scores) {
        score = std::exp(score - largest);
        total += score;
    }
    std::fill_n(out, head.value_width, 0.0);
    for (int64_t position = head.visible.first; position < head.visible.last; ++position) {
        const double* value = value_at(position);
        const double share = scores[static_cast<size_t>(position - head.visible.first)] / total;
        for (int64_t i = 0; i < head.value_width; ++i) out[i] += share * value[i];
    }
}

namespace {

std::vector<double> scores_of(const double* logits, int64_t experts, RouteSpec::Scoring scoring) {
    std::vector<double> scores(logits, logits + experts);
    if (scoring == RouteSpec::Scoring::softmax_of_chosen || scoring == RouteSpec::Scoring::sigmoid_of_chosen)
        return scores;
    if (scoring == RouteSpec::Scoring::sigmoid) {
        for (double& score : scores) score = sigmoid(score);
        return scores;
    }
    const double largest = *std::max_element(logits, logits + experts);
    for (double& score : scores) score = std::exp(score - largest);
    const double total = std::accumulate(scores.begin(), scores.end(), 0.0);
    for (double& score : scores) score /= total;
    return scores;
}

// Indices by (value descending, index ascending); a NaN is last.
std::vector<int32_t> ranking(const std::vector<double>& values) {
    const auto rank = [&](int32_t i) {
        const double value = values[static_cast<size_t>(i)];
        return std::isnan(value) ? -std::numeric_limits<double>::infinity() : value;
    };
    std::vector<int32_t> order(values.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return rank(a) > rank(b); });
    return order;
}

// Gives the experts of groups that are not used the rank -infinity.
void leave_out_groups(const RouteSpec& spec, std::vector<double>& ranks) {
    const size_t size = ranks.size() / static_cast<size_t>(spec.groups);
    std::vector<double> groups;
    for (size_t first = 0; first < ranks.size(); first += size) {
        std::vector<double> members(ranks.begin() + static_cast<int64_t>(first),
                                    ranks.begin() + static_cast<int64_t>(first + size));
        std::sort(members.begin(), members.end(), std::greater<>());
        const bool two = spec.group_score == RouteSpec::GroupScore::sum_of_best_two && size > 1;
        groups.push_back(two ? members[0] + members[1] : members[0]);
    }
    const std::vector<int32_t> order = ranking(groups);
    for (size_t i = static_cast<size_t>(spec.groups_used); i < order.size(); ++i) {
        const size_t first = static_cast<size_t>(order[i]) * size;
        for (size_t j = first; j < first + size; ++j) ranks[j] = -std::numeric_limits<double>::infinity();
    }
}

}  // namespace

Routing route(const double* logits, int64_t experts, const RouteSpec& spec, const float* bias, const float* factors) {
    Routing routing{.probabilities = scores_of(logits, experts, spec.scoring)};
    std::vector<double> ranks = routing.probabilities;
    for (size_t i = 0; bias != nullptr && i < ranks.size(); ++i) ranks[i] += bias[i];
    if (spec.groups > 1) leave_out_groups(spec, ranks);
    const std::vector<int32_t> order = ranking(ranks);
    const auto chosen = static_cast<size_t>(spec.experts_per_row);
    const auto rank_at = [&](size_t place) { return ranks[static_cast<size_t>(order[place])]; };
    const bool another = chosen < order.size() && !std::isinf(rank_at(chosen));
    routing.margin = rank_at(chosen - 1) - (another ? rank_at(chosen) : 0.0);
    routing.experts.assign(order.begin(), order.begin() + spec.experts_per_row);
    for (const int32_t expert : routing.experts)
        routing.weights.push_back(routing.probabilities[static_cast<size_t>(expert)]);
    if (spec.scoring == RouteSpec::Scoring::sigmoid_of_chosen) {
        for (double& weight : routing.weights) weight = sigmoid(weight);
    }
    if (spec.scoring == RouteSpec::Scoring::softmax_of_chosen) {
        routing.weights = scores_of(routing.weights.data(), spec.experts_per_row, RouteSpec::Scoring::softmax);
    } else if (spec.renormalise) {
        const double sum = std::accumulate(routing.weights.begin(), routing.weights.end(), 0.0) + spec.sum_floor;
        for (double& weight : routing.weights) weight /= sum;
    }
    for (size_t j = 0; j < chosen; ++j) {
        routing.weights[j] *= spec.factor;
        if (factors != nullptr) routing.weights[j] *= factors[routing.experts[j]];
    }
    return routing;
}

}  // namespace invar::float64
