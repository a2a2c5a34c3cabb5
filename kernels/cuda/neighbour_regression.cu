// What remains of each cell after it is rebuilt from its 8 neighbours, pulled towards a global vector.
// Reference: kernels/regression.py, neighbour_regression.
// features (h, w, c) f16, the grid; errors (h - 2 edge, w - 2 edge) f32, all cells that far from the border: with
// edge 0 the neighbours beyond it are mirrored, as in NumPy's "reflect". The global vector is target (c,) f32 or,
// where that is null, for each of these cells the mean of `count` rows, nearest (cells, count) i32: row r < own_count
// is cell own[r] of the grid, any other row r - own_count of bank (m, c) f16, and a negative one NaN.
// own = 1 - blend, pull = blend; the ridge is max(floor, ridge * mean diagonal), none where `ridge` is 0.
// h, w >= 3 and > 2 edge, c >= 1. For two scales at once: those with c = 0 are not there.
// Grid ceil(cells / 8) x scales, 256 threads: a warp per cell, which never waits for another.
//
//   A (16 x c)  neighbour 0..7 |   D = A B^T (16 x 8)   K   products of the neighbours, the system's matrix
//               cell           |                        u   with the cell
//               7 target rows  |                        v   with the target, one row of each part of it
// One chain of tensor core products per 16 rows gives all of them, in FP32. Any order of the channels will do, so
// that a lane reads 16 bytes of its row at once and the words of two steps are in its hand. A target in FP32 goes in
// as two rows of FP16 that add up to it. The residual is formed explicitly, in FP32: the quadratic form cancels.
#include "tile.cuh"

constexpr int NAN_WORD = 0x7fff7fff;

struct Scale {
    const f16* features;
    const float* target;
    const int *nearest, *own;
    const f16* bank;
    float* errors;
    int h, w, c, edge, count, own_count;
};

struct How {
    float own, pull, ridge, floor;
};

INLINE int mirrored(int i, int n) { return i < 0 ? -i : i >= n ? 2 * (n - 1) - i : i; }

// Row i of A: 0..7 the neighbours in raster order, 8 the cell itself.
INLINE const f16* window_row(const Scale& scale, int y, int x, int i) {
    const int step = i < 4 ? i : i + 1, middle = i == 8 ? 4 : step;
    const int v = mirrored(y + middle / 3 - 1, scale.h), u = mirrored(x + middle % 3 - 1, scale.w);
    return scale.features + ((long long)v * scale.w + u) * scale.c;
}

// The high (part 0) or low (part 1) FP16 of eight numbers of the target; together they have 22 bits of it.
INLINE uint4 target_words(const float* target, int k, int c, int part, bool whole) {
    float values[EIGHT];
    load_eight(values, target + k, c - k, whole && k < c);
    for (int i = 0; i < EIGHT; ++i) {
        const float high = to_float(to_half(values[i]));
        values[i] = part == 0 ? high : values[i] - high;
    }
    return make_uint4(to_halves(values[0], values[1]), to_halves(values[2], values[3]),
                      to_halves(values[4], values[5]), to_halves(values[6], values[7]));
}

// Eight numbers of target row `part`, which the lanes of one group share.
INLINE uint4 pull_words(const Scale& scale, int cell, int part, int k, bool whole) {
    if (scale.target)
        return part < 2 ? target_words(scale.target, k, scale.c, part, whole) : make_uint4(0, 0, 0, 0);
    if (part >= scale.count) return make_uint4(0, 0, 0, 0);
    const int row = scale.nearest[(long long)cell * scale.count + part];
    if (row < 0) return make_uint4(NAN_WORD, NAN_WORD, NAN_WORD, NAN_WORD);
    const f16* const from = row < scale.own_count ? scale.features + (long long)scale.own[row] * scale.c
                                                  : scale.bank + (long long)(row - scale.own_count) * scale.c;
    return load_words(from, k, scale.c, whole);
}

// Two steps of products: 32 channels, of which each lane has eight of its rows.
INLINE void add_products(float (&d)[4], uint4 upper, uint4 lower, uint4 right) {
    const unsigned a[2][4] = {{upper.x, lower.x, upper.y, lower.y}, {upper.z, lower.z, upper.w, lower.w}};
    const unsigned b[2][2] = {{right.x, right.y}, {right.z, right.w}};
    mma(d, a[0], b[0]);
    mma(d, a[1], b[1]);
}

// Lane 4 g + t gets K[g][2 t], K[g][2 t + 1] in `matrix`, u[2 t], u[2 t + 1] in `with_cell` and v in `with_target`.
struct Products {
    float matrix[2], with_cell[2], with_target[2];
};

INLINE Products products_of(const Scale& scale, int cell, int y, int x, bool whole) {
    const int lane = threadIdx.x % 32, group = lane / 4;
    const f16* const neighbour = window_row(scale, y, x, group);
    const f16* const middle = window_row(scale, y, x, 8);
    float first[4] = {}, more[4] = {};
    const int parts = scale.target ? 2 : scale.count;
    for (int start = 0; start < scale.c; start += 32) {
        const int k = start + lane % 4 * 8;
        const uint4 right = load_words(neighbour, k, scale.c, whole);
        const uint4 lower = group == 0 ? load_words(middle, k, scale.c, whole)
                                       : pull_words(scale, cell, group - 1, k, whole);
        add_products(first, right, lower, right);
        for (int part = 7; part < parts; part += 16)
            add_products(more, pull_words(scale, cell, part + group, k, whole),
                         pull_words(scale, cell, part + 8 + group, k, whole), right);
    }
    Products found;
    for (int i = 0; i < 2; ++i) {
        found.matrix[i] = first[i];
        found.with_cell[i] = __shfl_sync(WARP, first[2 + i], lane % 4);
        float sum = (group == 0 ? 0 : first[2 + i]) + more[i] + more[2 + i];
        for (int step = 4; step < 32; step *= 2) sum += __shfl_xor_sync(WARP, sum, step);
        found.with_target[i] = scale.target ? sum : sum / (float)scale.count;
    }
    return found;
}

// The weight of neighbour g, in the lanes 4 g + t: elimination above and below the diagonal, row g in four lanes.
INLINE float solve(const Products& found, const How& how) {
    const int lane = threadIdx.x % 32, group = lane / 4;
    float row[2] = {found.matrix[0], found.matrix[1]};
    // The right side of equation g: in the lanes with the columns g it is there, from where all of row g take it.
    float pair[2];
    for (int i = 0; i < 2; ++i) pair[i] = how.own * found.with_cell[i] + how.pull * found.with_target[i];
    const float even = __shfl_sync(WARP, pair[0], group / 2), odd = __shfl_sync(WARP, pair[1], group / 2);
    float right = group % 2 ? odd : even;
    if (how.ridge > 0) {
        float diagonal = lane % 4 == group / 2 ? row[group % 2] : 0;
        const float mean = warp_sum(diagonal) / 8;
        const float relative = how.ridge * mean, epsilon = relative < how.floor ? how.floor : relative;
        if (lane % 4 == group / 2) row[group % 2] += epsilon;
    }
    for (int j = 0; j < 8; ++j) {
        const float pivot = __shfl_sync(WARP, row[j % 2], 4 * j + j / 2);
        const float mine = __shfl_sync(WARP, row[j % 2], lane / 4 * 4 + j / 2);
        const float other[2] = {__shfl_sync(WARP, row[0], 4 * j + lane % 4), __shfl_sync(WARP, row[1], 4 * j + lane % 4)};
        const float other_right = __shfl_sync(WARP, right, 4 * j);
        const float factor = group == j ? 0 : mine / pivot;
        row[0] -= factor * other[0];
        row[1] -= factor * other[1];
        right -= factor * other_right;
    }
    const float own_even = __shfl_sync(WARP, row[0], lane / 4 * 4 + group / 2);
    const float own_odd = __shfl_sync(WARP, row[1], lane / 4 * 4 + group / 2);
    return right / (group % 2 ? own_odd : own_even);
}

// Norm of the cell less the weighted sum of its neighbours; eight channels per lane at a time.
INLINE float residual(const Scale& scale, int y, int x, float weight, bool whole) {
    const int lane = threadIdx.x % 32;
    float weights[8];
    for (int i = 0; i < 8; ++i) weights[i] = __shfl_sync(WARP, weight, 4 * i);
    float squares = 0;
    for (int k = lane * 8; k < scale.c; k += 256) {
        float rest[8];
        for (int i = 8; i >= 0; --i) {
            const uint4 words = load_words(window_row(scale, y, x, i), k, scale.c, whole);
            const unsigned pairs[4] = {words.x, words.y, words.z, words.w};
            for (int j = 0; j < 4; ++j) {
                const float low = low_half(pairs[j]), high = high_half(pairs[j]);
                rest[2 * j] = i == 8 ? low : rest[2 * j] - weights[i] * low;
                rest[2 * j + 1] = i == 8 ? high : rest[2 * j + 1] - weights[i] * high;
            }
        }
        for (int j = 0; j < 8; ++j) squares += rest[j] * rest[j];
    }
    return sqrtf(warp_sum(squares));
}

INLINE void regress(const Scale& scale, const How& how) {
    const int rows = scale.h - 2 * scale.edge, columns = scale.w - 2 * scale.edge;
    const int cell = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (scale.c == 0 || cell >= rows * columns) return;
    const int y = cell / columns + scale.edge, x = cell % columns + scale.edge;
    const bool whole = scale.c % 8 == 0;
    const float weight = solve(products_of(scale, cell, y, x, whole), how);
    const float error = residual(scale, y, x, weight, whole);
    if (threadIdx.x % 32 == 0) scale.errors[cell] = error;
}

extern "C" __global__ void __launch_bounds__(256) neighbour_regression(
    const f16* features_0, const float* target_0, const int* nearest_0, const int* own_0, const f16* bank_0,
    float* errors_0, int h_0, int w_0, int c_0, int edge_0, int count_0, int own_count_0, float floor_0,
    const f16* features_1, const float* target_1, const int* nearest_1, const int* own_1, const f16* bank_1,
    float* errors_1, int h_1, int w_1, int c_1, int edge_1, int count_1, int own_count_1, float floor_1, float own,
    float pull, float ridge) {
    const bool second = blockIdx.y == 1;
    regress(second ? Scale{features_1, target_1, nearest_1, own_1, bank_1, errors_1, h_1, w_1, c_1, edge_1, count_1,
                           own_count_1}
                   : Scale{features_0, target_0, nearest_0, own_0, bank_0, errors_0, h_0, w_0, c_0, edge_0, count_0,
                           own_count_0},
            How{own, pull, ridge, second ? floor_1 : floor_0});
}
