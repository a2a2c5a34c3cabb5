// Features averaged over 3x3 cells, their mean, and their squared distance from it.
// Reference: kernels/reference.py, pool_norm.
// features, pooled, lower, centred (h, w, C) f16, or features f32 in pool_norm_f32; norms (h, w), mean (C,) f32;
// row-major, sums in f32. pooled + lower / 2048 have 22 bits of each result; lower may be null. h, w, C >= 1.
// C % 8 == 0 and bases aligned to 16 read 16 bytes at once, others number by number.
//
// Two launches; the first one takes two scales of an image at once, the second is left out where the norms are not
// wanted. pool_norm reads the features from memory once: a thread owns 8 channels of one column of cells and
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
INLINE void row_sum(float (&sum)[EIGHT], const T* features, int y, int x, int h, int w, int c, int channel,
                    bool whole) {
    for (int k = 0; k < EIGHT; ++k) sum[k] = 0;
    if (y < 0 || y >= h) return;
    for (int at = max(x - 1, 0); at <= min(x + 1, w - 1); ++at) {
        float cell[EIGHT];
        load_eight(cell, features + ((long long)y * w + at) * c + channel, c - channel, whole);
        for (int k = 0; k < EIGHT; ++k) sum[k] += cell[k];
    }
}

// One scale of an image, T f16 or f32. partials (blocks that share a chunk, C) f32 and counters (chunks,) u32 are
// scratch; counters are 0 between launches.
template <class T>
struct Scale {
    const T* features;
    f16 *pooled, *lower;
    float *mean, *partials;
    unsigned* counters;
    int h, w, c;
};

// `layer`: which ROWS rows of the scale this block has, of `layers`.
template <class T>
INLINE void pool(const Scale<T>& scale, int layer, int layers) {
    SHARED(float, totals, [CELLS][CHUNK]);
    const int h = scale.h, w = scale.w, c = scale.c;
    const T* const __restrict__ features = scale.features;
    float* const partials = scale.partials;
    if ((int)blockIdx.x * CHUNK >= c || (int)blockIdx.y * CELLS >= w) return;  // a block of the other, larger scale
    const int lane = threadIdx.x, row = threadIdx.y;
    const int channel = blockIdx.x * CHUNK + lane * EIGHT;
    const int x = blockIdx.y * CELLS + row, top = layer * ROWS;
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
            const long long at = ((long long)y * w + x) * c + channel;
            store_eight(scale.pooled + at, cell, c - channel, whole);
            if (!scale.lower) continue;
            for (int k = 0; k < EIGHT; ++k) cell[k] = (cell[k] - to_float(to_half(cell[k]))) / LOW_UNIT;
            store_eight(scale.lower + at, cell, c - channel, whole);
        }
    }
    for (int k = 0; k < EIGHT; ++k) totals[row][k * LANES + lane] = total[k];  // no two lanes in one bank
    __syncthreads();
    const int own = row * LANES + lane;  // place in a row of totals: of lane own % 32, its number own / 32
    const int own_channel = blockIdx.x * CHUNK + own % LANES * EIGHT + own / LANES;
    const int across = (w + CELLS - 1) / CELLS, blocks = across * layers, block = layer * across + blockIdx.y;
    if (own_channel < c) {
        float sum = 0;
        for (int r = 0; r < CELLS; ++r) sum += totals[r][own];
        partials[(long long)block * c + own_channel] = sum;
    }
    if (!is_last_block(scale.counters + blockIdx.x, blocks)) return;
    if (own_channel < c) {
        float sum = 0, lost = 0;  // compensated: float sums of thousands of cells lose a digit
        for (int b = 0; b < blocks; ++b) {
            const float term = __ldcg(partials + (long long)b * c + own_channel) - lost;
            const float next = sum + term;
            lost = next - sum - term;
            sum = next;
        }
        scale.mean[own_channel] = sum / (float)((long long)h * w);
    }
}

// The layers of the first scale come first along z.
template <class T>
INLINE void pool_one(const Scale<T>& first, const Scale<T>& second) {
    const int layers = (first.h + ROWS - 1) / ROWS, layer = blockIdx.z;
    if (layer < layers)
        pool(first, layer, layers);
    else
        pool(second, layer - layers, (second.h + ROWS - 1) / ROWS);
}

extern "C" __global__ void pool_norm(
    const f16* features_0, f16* pooled_0, f16* lower_0, float* mean_0, float* partials_0, unsigned* counters_0,
    int h_0, int w_0, int c_0, const f16* features_1, f16* pooled_1, f16* lower_1, float* mean_1, float* partials_1,
    unsigned* counters_1, int h_1, int w_1, int c_1) {
    pool_one<f16>({features_0, pooled_0, lower_0, mean_0, partials_0, counters_0, h_0, w_0, c_0},
                  {features_1, pooled_1, lower_1, mean_1, partials_1, counters_1, h_1, w_1, c_1});
}

extern "C" __global__ void pool_norm_f32(
    const float* features_0, f16* pooled_0, f16* lower_0, float* mean_0, float* partials_0, unsigned* counters_0,
    int h_0, int w_0, int c_0, const float* features_1, f16* pooled_1, f16* lower_1, float* mean_1, float* partials_1,
    unsigned* counters_1, int h_1, int w_1, int c_1) {
    pool_one<float>({features_0, pooled_0, lower_0, mean_0, partials_0, counters_0, h_0, w_0, c_0},
                    {features_1, pooled_1, lower_1, mean_1, partials_1, counters_1, h_1, w_1, c_1});
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
