// Features averaged over 3x3 cells, their mean, and their squared distance from it.
// Reference: kernels/reference.py, pool_norm.
// features, pooled (h, w, C); norms (h, w); mean (C,); all f32 row-major. h, w, C >= 1. Threads share the rows.
#include "threads.h"
#include "vec.h"

namespace gonogo {
namespace {

// One row of pooled cells; `rows` is the sum of the three rows of features, with a cell of zeros at both ends.
void pool_row(const float* features, float* pooled, float* rows, int64_t y, int64_t h, int64_t w, int64_t c) {
    const int64_t n = w * c;
    const float* here = features + y * n;
    float* sums = rows + c;
    for (int64_t i = 0; i < c; ++i) rows[i] = sums[n + i] = 0;
    for (int64_t i = 0; i < n; ++i) sums[i] = here[i];
    // The reference adds from top to bottom; floats commute, so that only the grouping could differ.
    if (y > 0)
        for (int64_t i = 0; i < n; ++i) sums[i] = here[i - n] + sums[i];
    if (y + 1 < h)
        for (int64_t i = 0; i < n; ++i) sums[i] += here[i + n];
    for (int64_t i = 0; i < n; ++i) pooled[y * n + i] = (sums[i - c] + sums[i] + sums[i + c]) / 9;
}

float squared_distance(const float* a, const float* b, int64_t c) {
    Vec first = {}, second = {};
    int64_t i = 0;
    for (; i + 2 * LANES <= c; i += 2 * LANES) {
        const Vec p = load(a + i) - load(b + i), q = load(a + i + LANES) - load(b + i + LANES);
        first += p * p;
        second += q * q;
    }
    for (; i < c; i += LANES) {
        const int64_t left = c - i;
        const Vec p = left >= LANES ? load(a + i) - load(b + i) : load_part(a + i, left) - load_part(b + i, left);
        first += p * p;
    }
    return sum(first + second);
}

}  // namespace
}  // namespace gonogo

using namespace gonogo;

// The row sums of every thread, and the sum of each pooled row.
GONOGO_API int64_t gonogo_pool_norm_workspace(int64_t h, int64_t w, int64_t c, int threads) {
    if (h < 1 || w < 1 || c < 1) return -1;
    return 4 * (shares(h, threads) * (w + 2) * c + h * c);
}

GONOGO_API int64_t gonogo_pool_norm(const float* features, float* pooled, float* norms, float* mean, int64_t h,
                                    int64_t w, int64_t c, void* scratch, int threads) {
    if (h < 1 || w < 1 || c < 1) return 1;
    float* const totals = (float*)scratch;
    float* const sums = totals + h * c;
    parallel(h, threads, [&](int64_t first, int64_t last, int share) {
        for (int64_t y = first; y < last; ++y) {
            pool_row(features, pooled, sums + share * (w + 2) * c, y, h, w, c);
            float* const total = totals + y * c;
            for (int64_t i = 0; i < c; ++i) total[i] = 0;
            for (int64_t x = 0; x < w; ++x)
                for (int64_t i = 0; i < c; ++i) total[i] += pooled[(y * w + x) * c + i];
        }
    });
    // Rows are added in order and in double: the same mean for any number of threads.
    for (int64_t i = 0; i < c; ++i) {
        double total = 0;
        for (int64_t y = 0; y < h; ++y) total += totals[y * c + i];
        mean[i] = (float)(total / (double)(h * w));
    }
    parallel(h * w, threads, [&](int64_t first, int64_t last, int) {
        for (int64_t cell = first; cell < last; ++cell) norms[cell] = squared_distance(pooled + cell * c, mean, c);
    });
    return 0;
}
