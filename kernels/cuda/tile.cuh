// Inner products between the rows of two FP16 matrices, one tile at a time, on tensor cores with FP32 sums.
//
//            right rows, as columns            A block multiplies ROWS left rows with COLUMNS right rows. Both sides
//           +----------+----------+            pass through shared memory in slices of DEPTH channels; while the
//   left    | warp 0   | warp 1   |            tensor cores work on one slice, the next one is on its way in
//   rows    +----------+----------+            registers. A warp owns HIGH x 16 rows and WIDE x 8 columns of sums.
//           | warp 2   | warp 3   |
//           +----------+----------+            Rows are taken about a centre, which changes no distance: FP16 and
// FP32 then have their precision where the rows differ. Squares are sums over the same rounded numbers.
#pragma once
#include "device.cuh"

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define MEMBER __device__ __forceinline__
// Two differences of FP16, each rounded once.
INLINE unsigned subtract_halves(unsigned from, unsigned what) {
    unsigned difference;
    asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(difference) : "r"(from), "r"(what));
    return difference;
}
#else
#define MEMBER inline
INLINE unsigned subtract_halves(unsigned from, unsigned what) {
    return to_halves(low_half(from) - low_half(what), high_half(from) - high_half(what));
}
#endif

INLINE float infinite() { return __int_as_float(0x7f800000); }

// Eight numbers of a row from channel k on; those at and beyond channel c are 0. `whole`: c is a multiple of 8 and
// rows are aligned to 16 bytes.
INLINE uint4 load_words(const f16* row, int k, int c, bool whole) {
    if (whole) return k < c ? *(const uint4*)(row + k) : make_uint4(0, 0, 0, 0);
    unsigned words[4];
    for (int i = 0; i < 4; ++i) {
        const unsigned low = k + 2 * i < c ? row[k + 2 * i] : 0, high = k + 2 * i + 1 < c ? row[k + 2 * i + 1] : 0;
        words[i] = low | high << 16;
    }
    return make_uint4(words[0], words[1], words[2], words[3]);
}

INLINE float add_squares(float sum, unsigned pair) {
    const float low = low_half(pair), high = high_half(pair);
    return sum + low * low + high * high;
}

INLINE float add_squares(float sum, uint4 words) {
    return add_squares(add_squares(add_squares(add_squares(sum, words.x), words.y), words.z), words.w);
}

INLINE uint4 subtract_words(uint4 from, uint4 what) {
    return make_uint4(subtract_halves(from.x, what.x), subtract_halves(from.y, what.y),
                      subtract_halves(from.z, what.z), subtract_halves(from.w, what.w));
}

constexpr int DEPTH = 32, PITCH = DEPTH + 8;  // halves; eight rows of 80 bytes lie in eight different banks
constexpr int CHUNKS = DEPTH / 8;             // 16 bytes each, one per thread and row

template <int DOWN_, int ACROSS_, int HIGH_, int WIDE_>
struct Shape {
    static constexpr int DOWN = DOWN_, ACROSS = ACROSS_, HIGH = HIGH_, WIDE = WIDE_;
    static constexpr int WARPS = DOWN * ACROSS, THREADS = 32 * WARPS;
    static constexpr int ROWS = DOWN * HIGH * 16, COLUMNS = ACROSS * WIDE * 8;
};

// One side of the product, as one thread sees it: every (THREADS / CHUNKS)-th row, one chunk of each slice.
template <int ROWS, int THREADS>
struct Side {
    static constexpr int MINE = ROWS * CHUNKS / THREADS;
    const f16* row[MINE];  // nullptr: there is none, its products are 0
    uint4 words[MINE];
    float square[MINE];

    static MEMBER int place(int i) { return (int)(threadIdx.x / CHUNKS) + i * (THREADS / CHUNKS); }

    // The next slice, from channel k on, less the centre; `centre` is readable up to a multiple of DEPTH.
    MEMBER void load(int k, int c, bool whole, const f16* centre) {
        k += threadIdx.x % CHUNKS * 8;
        const uint4 middle = *(const uint4*)(centre + k);
        for (int i = 0; i < MINE; ++i) {
            words[i] = make_uint4(0, 0, 0, 0);
            if (row[i]) words[i] = subtract_words(load_words(row[i], k, c, whole), middle);
            square[i] = add_squares(square[i], words[i]);
        }
    }
    MEMBER void store(f16 (*slice)[PITCH]) const {
        for (int i = 0; i < MINE; ++i) *(uint4*)&slice[place(i)][threadIdx.x % CHUNKS * 8] = words[i];
    }
    // Squared norms of all rows, when every slice was loaded.
    MEMBER void store_squares(float* squares) const {
        for (int i = 0; i < MINE; ++i) {
            float sum = square[i];
            for (int step = 1; step < CHUNKS; step *= 2) sum += __shfl_xor_sync(WARP, sum, step);
            if (threadIdx.x % CHUNKS == 0) squares[place(i)] = sum;
        }
    }
};

template <class S>
struct Sums {
    float at[S::HIGH][S::WIDE][4];

    // Where number i of a fragment lies in the tile.
    static MEMBER int row(int high, int i) {
        return (int)(threadIdx.x / 32 / S::ACROSS) * S::HIGH * 16 + high * 16 + i / 2 * 8 + threadIdx.x % 32 / 4;
    }
    static MEMBER int column(int wide, int i) {
        return (int)(threadIdx.x / 32 % S::ACROSS) * S::WIDE * 8 + wide * 8 + threadIdx.x % 4 * 2 + i % 2;
    }

    MEMBER void add_slice(const f16 (*left)[PITCH], const f16 (*right)[PITCH]) {
        const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        const int top = warp / S::ACROSS * S::HIGH * 16, first = warp % S::ACROSS * S::WIDE * 8;
        for (int k = 0; k < DEPTH; k += 16) {
            unsigned rows[S::HIGH][4], columns[S::WIDE / 2][4];
            for (int i = 0; i < S::HIGH; ++i)
                load_matrices(rows[i], &left[top + i * 16 + lane % 16][k + lane / 16 * 8]);
            for (int j = 0; j < S::WIDE / 2; ++j)
                load_matrices(columns[j], &right[first + j * 16 + lane / 16 * 8 + lane % 8][k + lane / 8 % 2 * 8]);
            for (int i = 0; i < S::HIGH; ++i)
                for (int j = 0; j < S::WIDE; ++j) {
                    const unsigned pair[2] = {columns[j / 2][j % 2 * 2], columns[j / 2][j % 2 * 2 + 1]};
                    mma(at[i][j], rows[i], pair);
                }
        }
    }
};

// The shared memory of a tile: two slices of each side, and the squared norms of its rows.
template <class S>
struct TileMemory {
    f16 left[2][S::ROWS][PITCH], right[2][S::COLUMNS][PITCH];
    float left_squares[S::ROWS], right_squares[S::COLUMNS];
};

// Fills `sums` and the squares in `memory`. Ends behind a barrier: all of `memory` may be used then.
template <class S>
INLINE void multiply_tile(Sums<S>& sums, Side<S::ROWS, S::THREADS>& left, Side<S::COLUMNS, S::THREADS>& right,
                          TileMemory<S>& memory, const f16* centre, int c, bool whole) {
    for (int i = 0; i < S::HIGH; ++i)
        for (int j = 0; j < S::WIDE; ++j)
            for (int d = 0; d < 4; ++d) sums.at[i][j][d] = 0;
    for (int i = 0; i < left.MINE; ++i) left.square[i] = 0;
    for (int i = 0; i < right.MINE; ++i) right.square[i] = 0;
    left.load(0, c, whole, centre);
    right.load(0, c, whole, centre);
    left.store(memory.left[0]);
    right.store(memory.right[0]);
    __syncthreads();
    for (int k = 0, now = 0; k < c; k += DEPTH, now ^= 1) {
        const bool more = k + DEPTH < c;
        if (more) {
            left.load(k + DEPTH, c, whole, centre);
            right.load(k + DEPTH, c, whole, centre);
        }
        sums.add_slice(memory.left[now], memory.right[now]);
        if (more) {
            left.store(memory.left[now ^ 1]);
            right.store(memory.right[now ^ 1]);
        }
        __syncthreads();
    }
    left.store_squares(memory.left_squares);
    right.store_squares(memory.right_squares);
    __syncthreads();
}

// The centre in FP16, followed by zeros up to a multiple of DEPTH; nullptr: all zeros. Behind it a barrier is due.
INLINE void store_centre(f16* to, const float* centre, int c) {
    for (int i = threadIdx.x; i < (c + DEPTH - 1) / DEPTH * DEPTH; i += blockDim.x)
        to[i] = i < c && centre ? to_half(centre[i]) : 0;
}
