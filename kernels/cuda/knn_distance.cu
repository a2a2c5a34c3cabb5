// Euclidean distance from each query row to its k nearest rows, and which they are.
// Reference: kernels/reference.py, knn_distance.
// Queries are the rows `cells` (n,) i32 of features (.., c) f16, or its first n where `cells` is null. They are
// compared with m rows: row r < own_count is row own[r] of features, any other row r - own_count of bank (.., c) f16.
// exclude (n,) i32 or null: the row that a query may not find, or -1. distances (n, k) f32 ascending, or null;
// indices (n, k) i32; of equal distances the smaller index comes first. centre (c,) f32 or null. Scratch:
// list_scores (n, splits, slots) f32, list_rows the same in i32, counters (ceil(n / tile),) 0 between launches.
// 1 <= k <= keep <= slots, slots 32 or 64. For two scales at once: those with n = 0 are not there.
// Grid query tiles x splits x scales; 128 threads for 64 x 64 tiles, 256 for 128 x 128.
//
// |q - b|^2 - |q|^2 = |b|^2 - 2 q.b is the score, about the centre; a query's scores never leave the block:
//
//   products of a tile --> 32 columns at a time --> one lane per column: is it below the row's bound?
//   (tensor cores)         in shared memory         few are; they are put in their places in the row's list
//
// Each of `splits` blocks scans its share of the rows for a tile of queries. The last of them merges the lists, in
// the order of the rows. Where distances are wanted, the `keep` best are measured again as sums of (q - b)^2 in FP32,
// which orders them: exact to rounding. A neighbour is missed only where keep - k + 1 others have scores within
// rounding of its own. A query without k neighbours (it, or all rows, hold NaN) gets NaN and -1.
#include "tile.cuh"

constexpr int MISSING = -1;

struct Scale {
    const f16* features;
    const int *cells, *own;
    const f16* bank;
    const int* exclude;
    const float* centre;
    float* distances;
    int* indices;
    float* list_scores;
    int* list_rows;
    unsigned* counters;
    int n, m, c, own_count, k, keep, slots;
};

INLINE const f16* query_row(const Scale& scale, int query) {
    return scale.features + (long long)(scale.cells ? scale.cells[query] : query) * scale.c;
}

INLINE const f16* other_row(const Scale& scale, int row) {
    return row < scale.own_count ? scale.features + (long long)scale.own[row] * scale.c
                                 : scale.bank + (long long)(row - scale.own_count) * scale.c;
}

// The smallest scores of one query, ascending, over the lanes of a warp: lane l holds places l and l + 32.
struct List {
    float score[2];
    int row[2];
};

INLINE List empty_list() { return {{infinite(), infinite()}, {MISSING, MISSING}}; }

INLINE float bound_of(const List& list, int keep) {
    return __shfl_sync(WARP, keep <= 32 ? list.score[0] : list.score[1], (keep - 1) % 32);
}

// Puts a score and its row, the same in all lanes, at a place; what stood there and behind moves on by one.
INLINE void put(List& list, int place, float score, int row) {
    const int lane = threadIdx.x % 32;
    const float last_score = __shfl_sync(WARP, list.score[0], 31);
    const int last_row = __shfl_sync(WARP, list.row[0], 31);
    for (int half = 0; half < 2; ++half) {
        float left = __shfl_up_sync(WARP, list.score[half], 1);
        int left_row = __shfl_up_sync(WARP, list.row[half], 1);
        if (half == 1 && lane == 0) left = last_score, left_row = last_row;
        const int slot = lane + 32 * half;
        if (slot == place) list.score[half] = score, list.row[half] = row;
        if (slot > place) list.score[half] = left, list.row[half] = left_row;
    }
}

// Takes over one score per lane, in the order of the lanes, as far as they are below the bound.
INLINE void insert_all(List& list, float score, int row, int keep) {
    float bound = bound_of(list, keep);
    for (unsigned better = __ballot_sync(WARP, score < bound); better; better &= better - 1) {
        const int lane = __ffs(better) - 1;
        const float candidate = __shfl_sync(WARP, score, lane);
        const int candidate_row = __shfl_sync(WARP, row, lane);
        if (!(candidate < bound)) continue;
        // Behind those that are not greater: rows come in ascending order.
        const int place = __popc(__ballot_sync(WARP, list.score[0] <= candidate)) +
                          __popc(__ballot_sync(WARP, list.score[1] <= candidate));
        put(list, place, candidate, candidate_row);
        bound = bound_of(list, keep);
    }
}

INLINE long long list_at(const Scale& scale, int query, int split) {
    return ((long long)query * gridDim.y + split) * scale.slots;
}

INLINE void store_list(const Scale& scale, int query, int split, const List& list) {
    for (int half = 0; half < scale.slots / 32; ++half) {
        const long long at = list_at(scale, query, split) + threadIdx.x % 32 + 32 * half;
        scale.list_scores[at] = list.score[half];
        scale.list_rows[at] = list.row[half];
    }
}

INLINE List load_list(const Scale& scale, int query, int split) {
    List list = empty_list();
    for (int half = 0; half < scale.slots / 32; ++half) {
        const long long at = list_at(scale, query, split) + threadIdx.x % 32 + 32 * half;
        list.score[half] = __ldcg(scale.list_scores + at);
        list.row[half] = __ldcg(scale.list_rows + at);
    }
    return list;
}

// The sum of (q - b)^2, by a warp.
INLINE float squared_distance(const Scale& scale, int query, int row, bool whole) {
    const f16 *const q = query_row(scale, query), *const b = other_row(scale, row);
    float sum = 0;
    for (int k = threadIdx.x % 32 * EIGHT; k < scale.c; k += 32 * EIGHT) {
        float mine[EIGHT], others[EIGHT];
        load_eight(mine, q + k, scale.c - k, whole);
        load_eight(others, b + k, scale.c - k, whole);
        for (int i = 0; i < EIGHT; ++i) {
            const float difference = mine[i] - others[i];
            sum += difference * difference;
        }
    }
    return warp_sum(sum);
}

// The first `keep` of a list in the order of their exact squared distances, which replace the scores.
INLINE List measured(const Scale& scale, int query, const List& list, bool whole) {
    List sorted = empty_list();
    for (int slot = 0; slot < scale.keep; ++slot) {
        const int row = __shfl_sync(WARP, slot < 32 ? list.row[0] : list.row[1], slot % 32);
        if (row == MISSING) break;
        const float square = squared_distance(scale, query, row, whole);
        int place = 0;
        for (int half = 0; half < 2; ++half) {
            const float score = sorted.score[half];
            place += __popc(__ballot_sync(WARP, score < square || (score == square && sorted.row[half] < row)));
        }
        put(sorted, place, square, row);
    }
    return sorted;
}

INLINE void finish(const Scale& scale, int query, List list, bool whole) {
    const int worst = __shfl_sync(WARP, scale.k <= 32 ? list.row[0] : list.row[1], (scale.k - 1) % 32);
    if (scale.distances) list = measured(scale, query, list, whole);
    for (int half = 0; half < 2; ++half) {
        const int slot = threadIdx.x % 32 + 32 * half;
        if (slot >= scale.k) continue;
        const long long at = (long long)query * scale.k + slot;
        scale.indices[at] = worst == MISSING ? MISSING : list.row[half];
        if (scale.distances)
            scale.distances[at] = worst == MISSING ? __int_as_float(0x7fffffff) : sqrtf(list.score[half]);
    }
}

// The shared memory of a block. Once a tile is multiplied, 32 columns of scores take the place of its slices.
template <class S>
struct Memory {
    union {
        TileMemory<S> tile;
        float scores[S::ROWS][33];
    };
    float squares[S::COLUMNS], bounds[S::ROWS];
    int excluded[S::ROWS], promising[S::ROWS];
};

// From products to scores, of one warp; rows of which one is below the bound are marked.
template <class S>
INLINE void store_scores(const Sums<S>& sums, Memory<S>& memory) {
    for (int i = 0; i < S::HIGH; ++i)
        for (int d = 0; d < 4; d += 2) {
            const int row = sums.row(i, d);
            const float bound = memory.bounds[row];
            bool promising = false;
            for (int j = 0; j < S::WIDE; ++j)
                for (int e = d; e < d + 2; ++e) {
                    const float score = memory.squares[sums.column(j, e)] - 2 * sums.at[i][j][e];
                    memory.scores[row][sums.column(j, e) % 32] = score;
                    promising |= score < bound;
                }
            if (promising) memory.promising[row] = 1;
        }
}

// Takes what is below the bounds into the lists. A warp has every WARPS-th row, in one lane each at first.
template <class S>
INLINE void scan_tile(const Scale& scale, const Sums<S>& sums, Memory<S>& memory, int top, int first) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    for (int part = 0; part < S::COLUMNS / 32; ++part) {
        if (warp % S::ACROSS == part) store_scores(sums, memory);
        __syncthreads();
        const int own = warp + lane * S::WARPS, row = first + part * 32 + lane;
        unsigned rows = __ballot_sync(WARP, own < S::ROWS && top + own < scale.n && memory.promising[own % S::ROWS]);
        for (; rows; rows &= rows - 1) {
            const int r = warp + (__ffs(rows) - 1) * S::WARPS;
            const bool taken = row < scale.m && row != memory.excluded[r];
            List list = load_list(scale, top + r, blockIdx.y);
            insert_all(list, taken ? memory.scores[r][lane] : infinite(), row, scale.keep);
            store_list(scale, top + r, blockIdx.y, list);
            const float bound = bound_of(list, scale.keep);
            if (lane == 0) memory.bounds[r] = bound;
            if (lane == 0) memory.promising[r] = 0;
        }
        __syncthreads();
    }
}

template <class S>
INLINE void nearest(const Scale& scale) {
    static_assert(S::WIDE == 4, "a warp's columns are the 32 that are scanned at a time");
    SHARED(Memory<S>, shared, [1]);
    SHARED_DYNAMIC(f16, centre);
    Memory<S>& memory = shared[0];
    const int top = blockIdx.x * S::ROWS, warp = threadIdx.x / 32;
    if (top >= scale.n) return;
    const bool whole = scale.c % 8 == 0;
    store_centre(centre, scale.centre, scale.c);
    for (int r = threadIdx.x; r < S::ROWS; r += S::THREADS) {
        memory.bounds[r] = infinite();
        memory.promising[r] = 0;
        memory.excluded[r] = scale.exclude && top + r < scale.n ? scale.exclude[top + r] : MISSING;
    }
    for (int r = warp; r < S::ROWS && top + r < scale.n; r += S::WARPS)
        store_list(scale, top + r, blockIdx.y, empty_list());
    __syncthreads();
    const int tiles = (scale.m + S::COLUMNS - 1) / S::COLUMNS;
    const int begin = (int)((long long)tiles * blockIdx.y / gridDim.y);
    const int end = (int)((long long)tiles * (blockIdx.y + 1) / gridDim.y);
    Side<S::ROWS, S::THREADS> queries;
    for (int i = 0; i < queries.MINE; ++i) {
        const int query = top + queries.place(i);
        queries.row[i] = query < scale.n ? query_row(scale, query) : nullptr;
    }
    for (int tile = begin; tile < end; ++tile) {
        Side<S::COLUMNS, S::THREADS> others;
        for (int i = 0; i < others.MINE; ++i) {
            const int row = tile * S::COLUMNS + others.place(i);
            others.row[i] = row < scale.m ? other_row(scale, row) : nullptr;
        }
        Sums<S> sums;
        multiply_tile(sums, queries, others, memory.tile, centre, scale.c, whole);
        for (int i = threadIdx.x; i < S::COLUMNS; i += S::THREADS) memory.squares[i] = memory.tile.right_squares[i];
        __syncthreads();
        scan_tile(scale, sums, memory, top, tile * S::COLUMNS);
    }
    if (!is_last_block(scale.counters + blockIdx.x, gridDim.y)) return;
    for (int r = warp; r < S::ROWS && top + r < scale.n; r += S::WARPS) {
        List list = load_list(scale, top + r, 0);
        for (int split = 1; split < (int)gridDim.y; ++split) {
            const List more = load_list(scale, top + r, split);
            for (int half = 0; half < 2; ++half) insert_all(list, more.score[half], more.row[half], scale.keep);
        }
        finish(scale, top + r, list, whole);
    }
}

#define SCALE(i)                                                                                                      \
    const f16 *features_##i, const int *cells_##i, const int *own_##i, const f16 *bank_##i, const int *exclude_##i,   \
        const float *centre_##i, float *distances_##i, int *indices_##i, float *scores_##i, int *rows_##i,            \
        unsigned *counters_##i, int n_##i, int m_##i, int c_##i, int own_count_##i, int k_##i, int keep_##i, int slots_##i
#define SCALE_OF(i)                                                                                                   \
    Scale { features_##i, cells_##i, own_##i, bank_##i, exclude_##i, centre_##i, distances_##i, indices_##i, scores_##i, \
            rows_##i, counters_##i, n_##i, m_##i, c_##i, own_count_##i, k_##i, keep_##i, slots_##i }

extern "C" __global__ void __launch_bounds__(128) knn_distance(SCALE(0), SCALE(1)) {
    nearest<Shape<2, 2, 2, 4>>(blockIdx.z == 0 ? SCALE_OF(0) : SCALE_OF(1));
}

extern "C" __global__ void __launch_bounds__(256) knn_distance_wide(SCALE(0), SCALE(1)) {
    nearest<Shape<2, 4, 4, 4>>(blockIdx.z == 0 ? SCALE_OF(0) : SCALE_OF(1));
}
