// Mean of the bank rows named for each query: the local global vector of a cell.
// Reference: kernels/reference.py, neighbour_mean.
// bank (M, C) f32, indices (N, k) i64 in 0..M - 1, means (N, C) f32. Threads share the queries.
#include "threads.h"
#include "vec.h"

using namespace gonogo;

GONOGO_API int64_t gonogo_neighbour_mean_workspace(int64_t n, int64_t m, int64_t c, int64_t k, int) {
    return n < 1 || m < 1 || c < 1 || k < 1 ? -1 : 0;
}

GONOGO_API int64_t gonogo_neighbour_mean(const float* bank, const int64_t* indices, float* means, int64_t n,
                                         int64_t m, int64_t c, int64_t k, void*, int threads) {
    if (n < 1 || m < 1 || c < 1 || k < 1) return 1;
    for (int64_t i = 0; i < n * k; ++i)
        if (indices[i] < 0 || indices[i] >= m) return 2;
    parallel(n, threads, [&](int64_t first, int64_t last, int) {
        for (int64_t query = first; query < last; ++query)
            for (int64_t x = 0; x < c; x += 2 * LANES) {
                const int64_t left = c - x;
                const int64_t* const rows = indices + query * k;
                Vec low = {}, high = {};
                for (int64_t j = 0; j < k; ++j) {
                    const float* const row = bank + rows[j] * c + x;
                    low += left >= LANES ? load(row) : load_part(row, left);
                    if (left > LANES) high += left >= 2 * LANES ? load(row + LANES) : load_part(row + LANES, left - LANES);
                }
                float* const to = means + query * c + x;
                store_part(to, low / (float)k, left < LANES ? left : LANES);
                if (left > LANES) store_part(to + LANES, high / (float)k, left < 2 * LANES ? left - LANES : LANES);
            }
    });
    return 0;
}
