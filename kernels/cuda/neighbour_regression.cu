// What remains of each cell after it is rebuilt from its 8 neighbours, pulled towards a global vector.
// Reference: kernels/regression.py, neighbour_regression.
// features + lower / 2048 (h, w, c), two arrays of f16 that have the grid's values to 22 bits; errors (h - 2 edge,
// w - 2 edge) f32, all cells that far from the border: with edge 0 the neighbours beyond it are mirrored, as in
// NumPy's "reflect". The global vector is target (c,) f32 or, where that is null, for each of these cells the
// mean of the `count` nearest of its `kept` candidates (cells, kept) i32: row r < own_count is cell own[r] of the grid,
// any other row r - own_count of bank + bank_lower / 2048 (m, c) f16, a negative one NaN. Where kept > count they are
// measured, in FP32, and of equal ones the first rows taken; else all are taken. kept <= 64.
// own = 1 - blend, pull = blend; the ridge is max(floor, ridge * mean diagonal), none where `ridge` is 0.
// h, w >= 3 and > 2 edge, c >= 1. For two scales at once: those with c = 0 are not there.
// Grid ceil(cells / 4) x scales, 128 threads: a warp per cell, which never waits for another.
//
//   A (16 x c)  neighbour 0..7 |   D = A B^T (16 x 8)   K   products of the neighbours, the system's matrix
//               cell           |                        u   with the cell
//               7 target rows  |                        v   with the target, one row of each part of it
// One chain of tensor core products per 16 rows gives all of them, in FP32. Any order of the channels will do, so
// that a lane reads 16 bytes of its row at once and the words of two steps are in its hand. FP16 alone would cost the
// errors 2e-4 to 4e-4 of themselves: a second sum takes the products of high with low parts. The residual is formed
// explicitly, in FP32: the quadratic form cancels.
#include "tile.cuh"

constexpr int NAN_WORD = 0x7fff7fff, WARPS = 4, MOST = 64;

// A row of the grid or the bank.
struct Row {
    const f16 *high, *low;
};

struct Words {
    uint4 high, low;
};

struct Scale {
    Row features;
    const float* target;
    const int *nearest, *own;
    Row bank;
    float* errors;
    int h, w, c, edge, count, kept, own_count;
};

struct How {
    float own, pull, ridge, floor;
};

INLINE int mirrored(int i, int n) { return i < 0 ? -i : i >= n ? 2 * (n - 1) - i : i; }

INLINE Row row_at(const Row& first, long long index, int c) {
    return {first.high + index * c, first.low + index * c};
}

INLINE Words load_row(const Row& row, int k, int c, bool whole) {
    return {load_words(row.high, k, c, whole), load_words(row.low, k, c, whole)};
}

INLINE void unpack(float (&values)[8], const Words& words) {
    const unsigned high[4] = {words.high.x, words.high.y, words.high.z, words.high.w};
    const unsigned low[4] = {words.low.x, words.low.y, words.low.z, words.low.w};
    for (int i = 0; i < 4; ++i) {
        values[2 * i] = low_half(high[i]) + LOW_UNIT * low_half(low[i]);
        values[2 * i + 1] = high_half(high[i]) + LOW_UNIT * high_half(low[i]);
    }
}

// Row i of A: 0..7 the neighbours in raster order, 8 the cell itself.
INLINE Row window_row(const Scale& scale, int y, int x, int i) {
    const int step = i < 4 ? i : i + 1, middle = i == 8 ? 4 : step;
    const int v = mirrored(y + middle / 3 - 1, scale.h), u = mirrored(x + middle % 3 - 1, scale.w);
    return row_at(scale.features, (long long)v * scale.w + u, scale.c);
}

INLINE Row candidate_row(const Scale& scale, int row) {
    return row < scale.own_count ? row_at(scale.features, scale.own[row], scale.c)
                                 : row_at(scale.bank, row - scale.own_count, scale.c);
}

// Eight numbers of the target in two parts.
INLINE Words target_words(const float* target, int k, int c, bool whole) {
    float values[EIGHT];
    load_eight(values, target + k, c - k, whole && k < c);
    unsigned high[4], low[4];
    for (int i = 0; i < 4; ++i) {
        float rest[2];
        high[i] = to_halves(values[2 * i], values[2 * i + 1]);
        rest[0] = (values[2 * i] - low_half(high[i])) / LOW_UNIT;
        rest[1] = (values[2 * i + 1] - high_half(high[i])) / LOW_UNIT;
        low[i] = to_halves(rest[0], rest[1]);
    }
    return {make_uint4(high[0], high[1], high[2], high[3]), make_uint4(low[0], low[1], low[2], low[3])};
}

// The candidates of a cell that are taken, in `rows`, shared memory of the warp: the `count` nearest ones.
INLINE void choose(const Scale& scale, int cell, int y, int x, bool whole, int* rows) {
    const int lane = threadIdx.x % 32;
    const int* const candidates = scale.nearest + (long long)cell * scale.kept;
    float square[2] = {infinite(), infinite()};
    int own[2] = {0x7fffffff, 0x7fffffff};
    for (int slot = 0; slot < scale.kept; ++slot) {
        const int row = candidates[slot];
        float sum = 0;
        for (int k = lane * 8; k < scale.c && row >= 0 && scale.kept > scale.count; k += 256) {
            float mine[8], others[8];
            unpack(mine, load_row(window_row(scale, y, x, 8), k, scale.c, whole));
            unpack(others, load_row(candidate_row(scale, row), k, scale.c, whole));
            for (int i = 0; i < 8; ++i) sum += (mine[i] - others[i]) * (mine[i] - others[i]);
        }
        sum = warp_sum(sum);
        if (slot == lane) square[0] = sum, own[0] = row;
        if (slot == lane + 32) square[1] = sum, own[1] = row;
    }
    int rank[2] = {0, 0};
    for (int slot = 0; slot < scale.kept; ++slot) {
        const float other = __shfl_sync(WARP, slot < 32 ? square[0] : square[1], slot % 32);
        const int row = __shfl_sync(WARP, slot < 32 ? own[0] : own[1], slot % 32);
        for (int half = 0; half < 2; ++half)
            rank[half] += other < square[half] || (other == square[half] && row < own[half]);
    }
    // Rows that are missing share a rank: places that nobody takes are missing too.
    for (int half = 0; half < 2; ++half) rows[lane + 32 * half] = -1;
    __syncwarp(WARP);
    for (int half = 0; half < 2; ++half)
        if (lane + 32 * half < scale.kept && rank[half] < scale.count) rows[rank[half]] = own[half];
    __syncwarp(WARP);
}

// Eight numbers of target row `part`, which the lanes of one group share.
INLINE Words pull_words(const Scale& scale, const int* rows, int part, int k, bool whole) {
    const uint4 zeros = make_uint4(0, 0, 0, 0);
    if (part >= (scale.target ? 1 : scale.count)) return {zeros, zeros};
    if (scale.target) return target_words(scale.target, k, scale.c, whole);
    if (rows[part] < 0) return {make_uint4(NAN_WORD, NAN_WORD, NAN_WORD, NAN_WORD), zeros};
    return load_row(candidate_row(scale, rows[part]), k, scale.c, whole);
}

// Two steps of products: 32 channels, of which each lane has eight of its rows.
INLINE void add_products(float (&d)[4], uint4 upper, uint4 lower, uint4 right) {
    const unsigned a[2][4] = {{upper.x, lower.x, upper.y, lower.y}, {upper.z, lower.z, upper.w, lower.w}};
    const unsigned b[2][2] = {{right.x, right.y}, {right.z, right.w}};
    mma(d, a[0], b[0]);
    mma(d, a[1], b[1]);
}

// A sum of products of numbers in two parts; low times low is below what FP32 adds up.
struct Sum {
    float main[4], cross[4];
};

INLINE void add_products(Sum& sum, const Words& upper, const Words& lower, const Words& right) {
    add_products(sum.main, upper.high, lower.high, right.high);
    add_products(sum.cross, upper.high, lower.high, right.low);
    add_products(sum.cross, upper.low, lower.low, right.high);
}

INLINE float total(const Sum& sum, int i) { return sum.main[i] + LOW_UNIT * sum.cross[i]; }

// Lane 4 g + t gets K[g][2 t], K[g][2 t + 1] in `matrix`, u[2 t], u[2 t + 1] in `with_cell` and v in `with_target`.
struct Products {
    float matrix[2], with_cell[2], with_target[2];
};

INLINE Products products_of(const Scale& scale, const int* rows, int y, int x, bool whole) {
    const int lane = threadIdx.x % 32, group = lane / 4;
    const Row neighbour = window_row(scale, y, x, group), middle = window_row(scale, y, x, 8);
    Sum first = {}, more = {};
    const int parts = scale.target ? 1 : scale.count;
#pragma unroll 1  // more would spill registers; the loads of several warps overlap anyway
    for (int start = 0; start < scale.c; start += 32) {
        const int k = start + lane % 4 * 8;
        const Words right = load_row(neighbour, k, scale.c, whole);
        const Words lower = group == 0 ? load_row(middle, k, scale.c, whole)
                                       : pull_words(scale, rows, group - 1, k, whole);
        add_products(first, right, lower, right);
#pragma unroll 1
        for (int part = 7; part < parts; part += 16)
            add_products(more, pull_words(scale, rows, part + group, k, whole),
                         pull_words(scale, rows, part + 8 + group, k, whole), right);
    }
    Products found;
    for (int i = 0; i < 2; ++i) {
        found.matrix[i] = total(first, i);
        found.with_cell[i] = __shfl_sync(WARP, total(first, 2 + i), lane % 4);
        float sum = (group == 0 ? 0 : total(first, 2 + i)) + total(more, i) + total(more, 2 + i);
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
        const bool here = lane % 4 == group / 2;
        const float diagonal = here ? (group % 2 ? row[1] : row[0]) : 0;
        const float mean = warp_sum(diagonal) / 8;
        const float relative = how.ridge * mean, epsilon = relative < how.floor ? how.floor : relative;
        if (here && group % 2 == 0) row[0] += epsilon;
        if (here && group % 2 == 1) row[1] += epsilon;
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
            float values[8];
            unpack(values, load_row(window_row(scale, y, x, i), k, scale.c, whole));
            for (int j = 0; j < 8; ++j) rest[j] = i == 8 ? values[j] : rest[j] - weights[i] * values[j];
        }
        for (int j = 0; j < 8; ++j) squares += rest[j] * rest[j];
    }
    return sqrtf(warp_sum(squares));
}

INLINE void regress(const Scale& scale, const How& how) {
    SHARED(int, taken, [WARPS][MOST]);
    const int rows = scale.h - 2 * scale.edge, columns = scale.w - 2 * scale.edge;
    const int cell = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (scale.c == 0 || cell >= rows * columns) return;
    const int y = cell / columns + scale.edge, x = cell % columns + scale.edge;
    const bool whole = scale.c % 8 == 0;
    int* const chosen = taken[threadIdx.x / 32];
    if (!scale.target) choose(scale, cell, y, x, whole, chosen);
    const float weight = solve(products_of(scale, chosen, y, x, whole), how);
    const float error = residual(scale, y, x, weight, whole);
    if (threadIdx.x % 32 == 0) scale.errors[cell] = error;
}

extern "C" __global__ void __launch_bounds__(128) neighbour_regression(
    const f16* features_0, const f16* lower_0, const float* target_0, const int* nearest_0, const int* own_0,
    const f16* bank_0, const f16* bank_lower_0, float* errors_0, int h_0, int w_0, int c_0, int edge_0, int count_0,
    int kept_0, int own_count_0, float floor_0, const f16* features_1, const f16* lower_1, const float* target_1,
    const int* nearest_1, const int* own_1, const f16* bank_1, const f16* bank_lower_1, float* errors_1, int h_1,
    int w_1, int c_1, int edge_1, int count_1, int kept_1, int own_count_1, float floor_1, float own, float pull,
    float ridge) {
    const bool second = blockIdx.y == 1;
    regress(second ? Scale{{features_1, lower_1}, target_1, nearest_1, own_1, {bank_1, bank_lower_1}, errors_1, h_1,
                           w_1, c_1, edge_1, count_1, kept_1, own_count_1}
                   : Scale{{features_0, lower_0}, target_0, nearest_0, own_0, {bank_0, bank_lower_0}, errors_0, h_0,
                           w_0, c_0, edge_0, count_0, kept_0, own_count_0},
            How{own, pull, ridge, second ? floor_1 : floor_0});
}
