// Mean Euclidean distance from each cell to all other cells of the image.
// Reference: kernels/reference.py, distance_rowsum.
// features (n, c) f16, mean (c,), distances (n,) f32. Scratch: partials (tiles, n) f32, one counter, 0 between
// launches; tiles = ceil(n / 64). n, c >= 1. For two scales at once: those with n = 0 are not there.
// Grid tiles x tiles x scales, 128 threads. Features are centred about their mean.
//
// |a - b|^2 = |a|^2 + |b|^2 - 2 a.b, tile by tile; none of the n x n distances is stored. A distance counts for its
// row and for its column, so only the tiles on and above the diagonal are computed, and each leaves two vectors of
// sums. The last block to finish adds them in the order of the tiles: the same bits in every run.
#include "tile.cuh"

typedef Shape<2, 2, 2, 4> S;  // 64 x 64, 4 warps

struct Scale {
    const f16* features;
    const float* mean;
    float *distances, *partials;
    unsigned* counter;
    int n, c;
};

template <int R>
INLINE void take_rows(Side<R, S::THREADS>& side, const Scale& scale, int first) {
    for (int i = 0; i < side.MINE; ++i) {
        const int row = first + side.place(i);
        side.row[i] = row < scale.n ? scale.features + (long long)row * scale.c : nullptr;
    }
}

// From products to distances: 0 from a cell to itself, whatever rounding says, and where there is no cell.
INLINE void to_distances(Sums<S>& sums, const TileMemory<S>& memory, int top, int left, int n) {
    for (int i = 0; i < S::HIGH; ++i)
        for (int j = 0; j < S::WIDE; ++j)
            for (int d = 0; d < 4; ++d) {
                const int row = sums.row(i, d), column = sums.column(j, d);
                const float squares = memory.left_squares[row] + memory.right_squares[column];
                const float square = squares - 2 * sums.at[i][j][d];
                const bool none = top + row == left + column || top + row >= n || left + column >= n;
                // Rounding can push a true zero below 0. NaN is not: it stays.
                sums.at[i][j][d] = none || square < 0 ? 0 : sqrtf(square);
            }
}

// What the rows, and the columns, of one warp's sums add up to; each warp has its own row of `by_row` or `by_column`.
INLINE void add_up(const Sums<S>& sums, float (*by_row)[S::ROWS], float (*by_column)[S::COLUMNS]) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    for (int i = 0; i < S::HIGH; ++i)
        for (int d = 0; d < 4; d += 2) {
            float sum = 0;
            for (int j = 0; j < S::WIDE; ++j) sum += sums.at[i][j][d] + sums.at[i][j][d + 1];
            for (int step = 1; step < 4; step *= 2) sum += __shfl_xor_sync(WARP, sum, step);
            if (lane % 4 == 0) by_row[warp % S::ACROSS][sums.row(i, d)] = sum;
        }
    for (int j = 0; j < S::WIDE; ++j)
        for (int d = 0; d < 2; ++d) {
            float sum = 0;
            for (int i = 0; i < S::HIGH; ++i) sum += sums.at[i][j][d] + sums.at[i][j][d + 2];
            for (int step = 4; step < 32; step *= 2) sum += __shfl_xor_sync(WARP, sum, step);
            if (lane < 4) by_column[warp / S::ACROSS][sums.column(j, d)] = sum;
        }
}

// Thread by thread the sum of a tile's row (or column) goes to where the last block finds it.
template <int PARTS, int COUNT>
INLINE void store_sums(const float (*parts)[COUNT], float* to, int first, int n) {
    for (int i = threadIdx.x; i < COUNT && first + i < n; i += S::THREADS) {
        float sum = 0;
        for (int part = 0; part < PARTS; ++part) sum += parts[part][i];
        to[first + i] = sum;
    }
}

INLINE void row_sums(const Scale& scale) {
    SHARED(TileMemory<S>, memory, [1]);
    SHARED(float, by_row, [S::ACROSS][S::ROWS]);
    SHARED(float, by_column, [S::DOWN][S::COLUMNS]);
    SHARED_DYNAMIC(f16, centre);
    const int n = scale.n, tiles = (n + S::ROWS - 1) / S::ROWS;
    const int down = blockIdx.x, across = blockIdx.y;
    if (down > across || across >= tiles) return;
    const int top = down * S::ROWS, left = across * S::COLUMNS;
    store_centre(centre, scale.mean, scale.c);
    __syncthreads();
    Side<S::ROWS, S::THREADS> rows;
    Side<S::COLUMNS, S::THREADS> columns;
    take_rows(rows, scale, top);
    take_rows(columns, scale, left);
    Sums<S> sums;
    multiply_tile(sums, rows, columns, memory[0], centre, scale.c, scale.c % 8 == 0);
    to_distances(sums, memory[0], top, left, n);
    add_up(sums, by_row, by_column);
    __syncthreads();
    store_sums<S::ACROSS>(by_row, scale.partials + (long long)across * n, top, n);
    if (down != across) store_sums<S::DOWN>(by_column, scale.partials + (long long)down * n, left, n);
    if (!is_last_block(scale.counter, tiles * (tiles + 1) / 2)) return;
    for (int i = threadIdx.x; i < n; i += S::THREADS) {
        float sum = 0;
        for (int tile = 0; tile < tiles; ++tile) sum += __ldcg(scale.partials + (long long)tile * n + i);
        scale.distances[i] = sum / (float)max(1, n - 1);
    }
}

extern "C" __global__ void __launch_bounds__(128) distance_rowsum(
    const f16* features_0, const float* mean_0, float* distances_0, float* partials_0, unsigned* counter_0, int n_0,
    int c_0, const f16* features_1, const float* mean_1, float* distances_1, float* partials_1, unsigned* counter_1,
    int n_1, int c_1) {
    row_sums(blockIdx.z == 0 ? Scale{features_0, mean_0, distances_0, partials_0, counter_0, n_0, c_0}
                             : Scale{features_1, mean_1, distances_1, partials_1, counter_1, n_1, c_1});
}
