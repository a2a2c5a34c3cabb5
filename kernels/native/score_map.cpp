// Image score of an anomaly map: its maximum, the mean of its greatest cells, or their standard deviation.
// Reference: kernels/finish.py, _score and border_profile.
// map, mask (H, W) f32 row-major, mask may be null; score one f64. H, W >= 1. NaN in a cell is NaN in the score.
//
// Medians and the greatest cells are found by bisection on the bits: as integers, floats keep their order. It
// needs no branch per cell, so that the compiler compares a register of cells at a time.
#include <cmath>
#include <cstring>

#include "threads.h"
#include "vec.h"

namespace gonogo {
namespace {

// Of each axis, as in kernels/finish.py: where the profile begins to act, where it acts fully, rows averaged.
constexpr double REACH = 0.125, FULL = 0.0625;
constexpr int64_t SMOOTH = 2;  // rows to each side

constexpr int SUMS = 8, CHAINS = 4;  // additions, registers of maxima that do not wait for each other

// An integer in the order of the floats; its own inverse.
inline int32_t flip(int32_t bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }

inline int32_t key_of(float value) {
    int32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return flip(bits);
}

inline double value_of(int32_t key) {
    const int32_t bits = flip(key);
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

int32_t count_below(const int32_t* keys, int64_t n, int64_t bound) {
    const int32_t greatest = (int32_t)(bound - 1);
    int32_t count = 0;
    for (int64_t i = 0; i < n; ++i) count += keys[i] <= greatest;
    return count;
}

// The key that has rank k, from 0, when all n are sorted.
int32_t ranked(const int32_t* keys, int64_t n, int64_t k) {
    int32_t least = keys[0], greatest = keys[0];
    for (int64_t i = 0; i < n; ++i) {
        least = keys[i] < least ? keys[i] : least;
        greatest = keys[i] > greatest ? keys[i] : greatest;
    }
    int64_t low = least, high = greatest;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (count_below(keys, n, middle + 1) > k)
            high = middle;
        else
            low = middle + 1;
    }
    return (int32_t)low;
}

double median(const int32_t* keys, int64_t n) {
    const int32_t upper = ranked(keys, n, n / 2);
    if (n % 2 == 1 || count_below(keys, n, upper) < n / 2) return value_of(upper);
    int32_t lower = INT32_MIN;
    for (int64_t i = 0; i < n; ++i) lower = keys[i] < upper && keys[i] > lower ? keys[i] : lower;
    return (value_of(lower) + value_of(upper)) / 2;
}

double weight(int64_t i, int64_t n) {
    const double depth = ((double)(i < n - 1 - i ? i : n - 1 - i) + 0.5) / (double)n;
    const double share = (REACH - depth) / (REACH - FULL);
    return share < 0 ? 0 : share > 1 ? 1 : share;
}

// factors[i] = 1 + weight * (smoothed ratio - 1), where ratios holds max(1, median of line i / median of all).
// Lines that no weight reaches are 1 and their median is not asked for.
template <class Median>
void profile_of(int64_t n, double centre, const Median& median_of, double* ratios, float* factors) {
    for (int64_t i = 0; i < n; ++i) {
        const int64_t outer = i < n - 1 - i ? i : n - 1 - i;
        const bool reached = outer <= SMOOTH || weight(outer - SMOOTH, n) > 0;
        ratios[i] = reached ? median_of(i) / centre : 1;
        if (ratios[i] < 1) ratios[i] = 1;
    }
    for (int64_t i = 0; i < n; ++i) {
        double total = 0;
        for (int64_t k = i - SMOOTH; k <= i + SMOOTH; ++k) total += ratios[k < 0 ? 0 : k < n ? k : n - 1];
        factors[i] = (float)(weight(i, n) > 0 ? 1 + weight(i, n) * (total / (2 * SMOOTH + 1) - 1) : 1);
    }
}

// judged = map / border profile. Scratch: `keys` (H, W), `line` (H), `ratios` and `factors` (H + W).
void flatten(const float* map, int64_t height, int64_t width, int32_t* keys, int32_t* line, double* ratios,
             float* factors, float* judged) {
    for (int64_t i = 0; i < height * width; ++i) keys[i] = key_of(map[i]);
    float *const down = factors, *const across = factors + height;
    for (int64_t i = 0; i < height + width; ++i) factors[i] = 1;
    const double centre = median(keys, height * width);
    if (!(centre <= 0)) {
        profile_of(height, centre, [&](int64_t y) { return median(keys + y * width, width); }, ratios, down);
        auto column = [&](int64_t x) {
            for (int64_t y = 0; y < height; ++y) line[y] = keys[y * width + x];
            return median(line, height);
        };
        profile_of(width, centre, column, ratios, across);
    }
    for (int64_t y = 0; y < height; ++y)
        for (int64_t x = 0; x < width; ++x)
            judged[y * width + x] = map[y * width + x] / (down[y] > across[x] ? down[y] : across[x]);
}

bool any_nan(const float* cells, int64_t n) {
    int32_t found = 0;
    for (int64_t i = 0; i < n; ++i) found |= cells[i] != cells[i];
    return found != 0;
}

// Of cells that are all numbers.
double maximum(const float* cells, int64_t n) {
    Vec most[CHAINS];
    for (int c = 0; c < CHAINS; ++c) most[c] = splat(cells[0]);
    int64_t i = 0;
    for (; i + CHAINS * LANES <= n; i += CHAINS * LANES)
        for (int c = 0; c < CHAINS; ++c) {
            const Vec v = load(cells + i + c * LANES);
            most[c] = v > most[c] ? v : most[c];
        }
    float greatest = cells[0];
    for (; i < n; ++i) greatest = cells[i] > greatest ? cells[i] : greatest;
    for (int c = 0; c < CHAINS; ++c)
        for (int k = 0; k < LANES; ++k) greatest = most[c][k] > greatest ? most[c][k] : greatest;
    return greatest;
}

// Sum of term(i) over 0..n, in double.
template <class Term>
double total(int64_t n, const Term& term) {
    double sums[SUMS] = {}, rest = 0;
    int64_t i = 0;
    for (; i + SUMS <= n; i += SUMS)
        for (int k = 0; k < SUMS; ++k) sums[k] += term(i + k);
    for (; i < n; ++i) rest += term(i);
    for (int k = 0; k < SUMS; ++k) rest += sums[k];
    return rest;
}

double mean_top(const float* cells, int64_t n, int64_t count, int32_t* keys) {
    for (int64_t i = 0; i < n; ++i) keys[i] = key_of(cells[i]);
    const int32_t bound = ranked(keys, n, n - count);
    const double above = total(n, [&](int64_t i) { return keys[i] > bound ? (double)cells[i] : 0.0; });
    const int64_t equal = count - (n - count_below(keys, n, (int64_t)bound + 1));
    return (above + (double)equal * value_of(bound)) / (double)count;
}

double deviation(const float* cells, int64_t n) {
    const double mean = total(n, [&](int64_t i) { return (double)cells[i]; }) / (double)n;
    const double squares = total(n, [&](int64_t i) { return (cells[i] - mean) * (cells[i] - mean); });
    return std::sqrt(squares / (double)n);
}

enum Kind { MAX, MEAN_TOP, STD };

bool possible(int64_t height, int64_t width) {
    return height >= 1 && width >= 1 && height < INT32_MAX && width < INT32_MAX && height * width < INT32_MAX;
}

}  // namespace
}  // namespace gonogo

using namespace gonogo;

GONOGO_API int64_t gonogo_score_map_workspace(int64_t height, int64_t width, int) {
    if (!possible(height, width)) return -1;
    return (8 + 4) * (height + width) + 4 * (2 * height * width + height);
}

// kind: 0 maximum, 1 mean of the `count` greatest cells, 2 standard deviation; profile: 0 or 1.
GONOGO_API int64_t gonogo_score_map(const float* map, const float* mask, double* score, int64_t height,
                                    int64_t width, int64_t count, int kind, int profile, void* scratch, int) {
    const int64_t n = height * width;
    if (!possible(height, width) || kind < MAX || kind > STD || count < 1 || count > n) return 1;
    double* const ratios = (double*)scratch;
    float *const factors = (float*)(ratios + height + width), *const judged = factors + height + width;
    int32_t *const keys = (int32_t*)(judged + n), *const line = keys + n;
    const float* cells = map;
    if (profile) {
        flatten(map, height, width, keys, line, ratios, factors, judged);
        cells = judged;
    }
    if (mask) {
        for (int64_t i = 0; i < n; ++i) judged[i] = cells[i] * mask[i];
        cells = judged;
    }
    if (any_nan(cells, n))
        *score = NAN;
    else
        *score = kind == MAX ? maximum(cells, n) : kind == STD ? deviation(cells, n) : mean_top(cells, n, count, keys);
    return 0;
}
