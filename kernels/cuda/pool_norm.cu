// Features averaged over 3x3 cells, their mean, and their squared distance from it.
// Reference: kernels/reference.py, pool_norm.
// features, pooled, centred (h, w, C) f16, or features f32 in pool_norm_f32; norms (h, w), mean (C,) f32; row-major,
// sums in f32. h, w, C >= 1. C % 8 == 0 and bases aligned to 16 read 16 bytes at once, others number by number.
//
// Two launches. pool_norm reads the features from memory once: a thread owns 8 channels of one column of cells and
// walks down ROWS of them, with the horizontal sums of the last three rows in registers; the neighbours left and
// right come from the L1 cache. Sums over all cells are left as one partial sum per block, and the last block of a
// chunk of channels adds them in the order of the blocks: no float atomics, the same mean in every run.
// pool_centre then finds the pooled features in the L2 cache. Norms are of the centred features as they were rounded:
// |a|^2 + |b|^2 - 2 a.b of the same numbers is 0 for equal cells.
#include "device.cuh"

constexpr int LANES = 32, CELLS = 8, ROWS = 4;  // a block: 32 times 8 channels, 8 cells wide, 4 rows
constexpr int CHUNK = LANES * EIGHT;

// `sum` = features of the cell and of its neighbours left and right; outside of the grid they count as 0.
template <class T>
INLINE void row_sum(float (&sum)[EIGHT], const T* features, int y, int x, int h, int w, int c, int channel, bool whole) {
    for (int k = 0; k < EIGHT; ++k) sum[k] = 0;
    if (y < 0 || y >= h) return;
    for (int at = max(x - 1, 0); at <= min(x + 1, w - 1); ++at) {
        float cell[EIGHT];
        load_eight(cell, features + ((long long)y * w + at) * c + channel, c - channel, whole);
        for (int k = 0; k < EIGHT; ++k) sum[k] += cell[k];
    }
}

// partials (blocks in y and z, C) f32 and counters (blocks in x,) u32 are scratch; counters are 0 between launches.
template <class T>
INLINE void pool(const T* __restrict__ features, f16* __restrict__ pooled, float* __restrict__ mean, float* partials,
                 unsigned* counters, int h, int w, int c) {
    SHARED(float, totals, [CELLS][CHUNK]);
    const int lane = threadIdx.x, row = threadIdx.y;
    const int channel = blockIdx.x * CHUNK + lane * EIGHT;
    const int x = blockIdx.y * CELLS + row, top = blockIdx.z * ROWS;
    const bool whole = c % EIGHT == 0;
    float total[EIGHT] = {};
    if (channel < c && x < w) {
        float above[EIGHT], here[EIGHT], below[EIGHT];
        row_sum(above, features, top - 1, x, h, w, c, channel, whole);
        row_sum(here, features, top, x, h, w, c, channel, whole);
        for (int y = top; y < min(top + ROWS, h); ++y) {
            row_sum(below, features, y + 1, x, h, w, c, channel, whole);
            float cell[EIGHT];
            for (int k = 0; k < EIGHT; ++k) {
                cell[k] = (above[k] + here[k] + below[k]) / 9;
                total[k] += cell[k];
                above[k] = here[k];
                here[k] = below[k];
            }
            store_eight(pooled + ((long long)y * w + x) * c + channel, cell, c - channel, whole);
        }
    }
    for (int k = 0; k < EIGHT; ++k) totals[row][k * LANES + lane] = total[k];  // no two lanes in one bank
    __syncthreads();
    const int own = row * LANES + lane;  // place in a row of totals: of lane own % 32, its number own / 32
    const int own_channel = blockIdx.x * CHUNK + own % LANES * EIGHT + own / LANES;
    const int blocks = gridDim.y * gridDim.z, block = blockIdx.z * gridDim.y + blockIdx.y;
    if (own_channel < c) {
        float sum = 0;
        for (int r = 0; r < CELLS; ++r) sum += totals[r][own];
        partials[(long long)block * c + own_channel] = sum;
    }
    if (!is_last_block(counters + blockIdx.x, blocks)) return;
    if (own_channel < c) {
        float sum = 0, lost = 0;  // compensated: float sums of thousands of cells lose a digit
        for (int b = 0; b < blocks; ++b) {
            const float term = __ldcg(partials + (long long)b * c + own_channel) - lost;
            const float next = sum + term;
            lost = next - sum - term;
            sum = next;
        }
        mean[own_channel] = sum / (float)((long long)h * w);
    }
}

extern "C" __global__ void pool_norm(const f16* features, f16* pooled, float* mean, float* partials,
                                     unsigned* counters, int h, int w, int c) {
    pool(features, pooled, mean, partials, counters, h, w, c);
}

extern "C" __global__ void pool_norm_f32(const float* features, f16* pooled, float* mean, float* partials,
                                         unsigned* counters, int h, int w, int c) {
    pool(features, pooled, mean, partials, counters, h, w, c);
}

// One warp per cell. `centred` may be null.
extern "C" __global__ void pool_centre(const f16* __restrict__ pooled, const float* __restrict__ mean,
                                       f16* __restrict__ centred, float* __restrict__ norms, int n, int c) {
    const int cell = blockIdx.x * blockDim.y + threadIdx.y;
    const bool whole = c % EIGHT == 0;
    float norm = 0;
    if (cell < n) {
        const long long base = (long long)cell * c;
        for (int i = threadIdx.x * EIGHT; i < c; i += CHUNK) {
            float value[EIGHT], centre[EIGHT];
            load_eight(value, pooled + base + i, c - i, whole);
            load_eight(centre, mean + i, c - i, whole);
            for (int k = 0; k < EIGHT; ++k) {
                value[k] -= centre[k];
                const float rounded = to_float(to_half(value[k]));
                norm += rounded * rounded;
            }
            if (centred) store_eight(centred + base + i, value, c - i, whole);
        }
    }
    norm = warp_sum(norm);
    if (cell < n && threadIdx.x == 0) norms[cell] = norm;
}
