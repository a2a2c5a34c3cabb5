// Anomaly map from the cell errors of one or two scales: border filled, each scale A_h M A_w^T, fused cell by cell.
// Reference: kernels/finish.py, fill_border and finish_map; scores other than the maximum are in score_map.cu.
// errors (rows, columns) f32: the inner cells of a grid that is larger by ring - cut cells per side; of them `cut`
// per side are overwritten, so that a ring of `ring` is. map (height, width) f32; row-major, sums in f32.
// A_h and A_w as bands (kernels/cuda/bands.py). One value that is no finite number makes the whole map NaN.
// More than two scales: further launches with `begun`, which fuse into the map that is there. Where `score` (1,) is
// not null it becomes the greatest cell of the map times mask (height, width), which may be null: each block leaves
// its greatest in `partials`, the last one takes the greatest of those. counter is 0 between launches.
//
// Everything but the map is a few kilobytes: what counts is one launch instead of six. A block makes TILE_H x TILE_W
// cells of the map; it needs the least error (each block finds it again: cheaper than to wait for another launch), a
// strip of A_h M only as wide as its columns reach, and no filled grid: a cell of the ring is looked up when read.
//
//     errors        strip (shared)          map
//     +-----+      TILE_H x reach      TILE_H x TILE_W
//     |     |  A_h  +---------+   A_w   +-----------+
//     |     | ----> |         | ------> |           |  times or plus the other scale's, in registers
//     +-----+       +---------+         +-----------+
#include "device.cuh"

constexpr int THREADS = 256, TILE_H = 16, TILE_W = 32, PER_THREAD = TILE_H * TILE_W / THREADS;
enum Fill { LEAST, EDGE };
enum Fusion { PRODUCT, SUM };

struct Axis {
    const int* first;
    const float* weights;
    int taps;
};

struct Scale {
    const float* errors;
    int rows, columns, cut, ring;
    Axis down, across;
};

// A cell of the filled grid.
INLINE float cell(const Scale& s, int y, int x, int fill, float least) {
    const int skipped = s.ring - s.cut;
    const int v = min(max(y, s.ring), s.rows + 2 * skipped - 1 - s.ring);
    const int u = min(max(x, s.ring), s.columns + 2 * skipped - 1 - s.ring);
    const bool kept = v == y && u == x;
    return kept || fill == EDGE ? __ldg(s.errors + (v - skipped) * s.columns + u - skipped) : least;
}

// The least error, and 0, or NaN where an error is no finite number; the same for all threads of the block.
INLINE void survey(const Scale& s, float& least, float& poison) {
    SHARED(float, found, [2][THREADS / 32]);
    least = s.errors[0];
    poison = 0;
    for (int i = threadIdx.x; i < s.rows * s.columns; i += THREADS) {
        const float error = __ldg(s.errors + i);
        least = fminf(least, error);
        poison += 0 * error;
    }
    for (int step = 16; step > 0; step /= 2) least = fminf(least, __shfl_xor_sync(WARP, least, step));
    poison = warp_sum(poison);
    const int warp = threadIdx.x / 32;
    if (threadIdx.x % 32 == 0) {
        found[0][warp] = least;
        found[1][warp] = poison;
    }
    __syncthreads();
    poison = 0;
    for (int i = 0; i < THREADS / 32; ++i) {
        least = fminf(least, found[0][i]);
        poison += found[1][i];
    }
}

// NaN is greater than every number: it must not get lost.
INLINE float greater(float a, float b) { return a > b || a != a ? a : b; }

// The greatest of all threads of the block.
INLINE float greatest(float own) {
    SHARED(float, found, [THREADS / 32]);
    for (int step = 16; step > 0; step /= 2) own = greater(own, __shfl_xor_sync(WARP, own, step));
    __syncthreads();  // who still reads the last call's results
    if (threadIdx.x % 32 == 0) found[threadIdx.x / 32] = own;
    __syncthreads();
    for (int i = 0; i < THREADS / 32; ++i) own = greater(own, found[i]);
    return own;
}

// This thread's cells of the tile: `tile` = A_h M A_w^T there. `strip` holds TILE_H rows as wide as the grid.
INLINE void enlarge(const Scale& s, int fill, int height, int width, float* strip, float (&tile)[PER_THREAD]) {
    float least, poison;
    survey(s, least, poison);
    const int y0 = blockIdx.y * TILE_H, x0 = blockIdx.x * TILE_W;
    const int tall = min(TILE_H, height - y0), last = min(x0 + TILE_W, width) - 1;
    const int from = s.across.first[x0], reach = s.across.first[last] + s.across.taps - from;
    for (int i = threadIdx.x; i < tall * reach; i += THREADS) {
        const int y = y0 + i / reach, x = from + i % reach, first = __ldg(s.down.first + y);
        float sum = 0;
        for (int t = 0; t < s.down.taps; ++t)
            sum += __ldg(s.down.weights + t * height + y) * cell(s, first + t, x, fill, least);
        strip[i] = sum;
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < PER_THREAD; ++k) {
        const int y = (threadIdx.x + k * THREADS) / TILE_W, x = x0 + threadIdx.x % TILE_W;
        float sum = poison;
        if (y < tall && x < width)
            for (int t = 0; t < s.across.taps; ++t)
                sum += __ldg(s.across.weights + t * width + x) *
                       strip[y * reach + __ldg(s.across.first + x) - from + t];
        tile[k] = sum;
    }
    // The next scale writes the strip behind its survey's barrier.
}

extern "C" __global__ void __launch_bounds__(THREADS)
finish_map(const float* errors_0, int rows_0, int columns_0, int cut_0, int ring_0, const int* row_first_0,
           const float* row_weights_0, int row_taps_0, const int* column_first_0, const float* column_weights_0,
           int column_taps_0, const float* errors_1, int rows_1, int columns_1, int cut_1, int ring_1,
           const int* row_first_1, const float* row_weights_1, int row_taps_1, const int* column_first_1,
           const float* column_weights_1, int column_taps_1, float* map, int height, int width, int fill, int fusion,
           int begun, float factor, const float* mask, float* partials, unsigned* counter, float* score) {
    SHARED_DYNAMIC(float, strip);
    float fused[PER_THREAD], next[PER_THREAD];
    enlarge({errors_0, rows_0, columns_0, cut_0, ring_0, {row_first_0, row_weights_0, row_taps_0},
             {column_first_0, column_weights_0, column_taps_0}}, fill, height, width, strip, fused);
    if (errors_1) {
        enlarge({errors_1, rows_1, columns_1, cut_1, ring_1, {row_first_1, row_weights_1, row_taps_1},
                 {column_first_1, column_weights_1, column_taps_1}}, fill, height, width, strip, next);
        for (int k = 0; k < PER_THREAD; ++k) fused[k] = fusion == PRODUCT ? fused[k] * next[k] : fused[k] + next[k];
    }
    float most = __int_as_float(0xff800000);
    for (int k = 0; k < PER_THREAD; ++k) {
        const int y = blockIdx.y * TILE_H + (threadIdx.x + k * THREADS) / TILE_W;
        const int x = blockIdx.x * TILE_W + threadIdx.x % TILE_W;
        if (y >= height || x >= width) continue;
        const int at = y * width + x;
        if (begun) fused[k] = fusion == PRODUCT ? map[at] * fused[k] : map[at] + fused[k];
        map[at] = fused[k] * factor;
        if (score) most = greater(most, mask ? map[at] * mask[at] : map[at]);
    }
    if (!score) return;
    most = greatest(most);
    const int blocks = gridDim.x * gridDim.y;
    if (threadIdx.x == 0) partials[blockIdx.y * gridDim.x + blockIdx.x] = most;
    if (!is_last_block(counter, blocks)) return;
    for (int i = threadIdx.x; i < blocks; i += THREADS) most = greater(most, __ldcg(partials + i));
    most = greatest(most);
    if (threadIdx.x == 0) *score = most;
}
