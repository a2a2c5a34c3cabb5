// Products of two sets of rows, tile by tile: the rows packed so that the innermost loop reads them in order,
// and a tile of sums that stays in registers from the first channel to the last.
#pragma once
#include "transpose.h"

// Products of pairs of bfloat16: compiled with AVX-512, run where the processor says that it has them.
#if defined(__AVX512F__) && (defined(__clang__) || __GNUC__ >= 10)
#define GONOGO_PAIRS 1
#else
#define GONOGO_PAIRS 0
#endif

namespace gonogo {

// A tile is TILE_ROWS queries by PANEL bank rows: as many sums as leave registers for the operands.
#if defined(__AVX512F__)
constexpr int TILE_ROWS = 12, PANEL_VECS = 2;
#elif defined(__AVX__)
constexpr int TILE_ROWS = 4, PANEL_VECS = 3;
#elif defined(__aarch64__)
constexpr int TILE_ROWS = 8, PANEL_VECS = 3;
#else
constexpr int TILE_ROWS = 4, PANEL_VECS = 2;
#endif
constexpr int PANEL = PANEL_VECS * LANES;

// Packs `count` <= width rows (count, c), less `centre` and times `scale`, as (c, width); zeros fill up.
template <int width>
void pack(const float* rows, int64_t count, int64_t c, const float* centre, float scale, float* packed) {
    for (int64_t i = 0; i < c; i += LANES) {
        const int64_t channels = c - i < LANES ? c - i : LANES;
        const auto part = [&](const float* from) { return channels == LANES ? load(from) : load_part(from, channels); };
        // Scaled before they are subtracted: the difference of two huge floats is no float.
        const Vec middle = part(centre + i) * scale;
        for (int first = 0; first < width; first += LANES) {
            Vec block[LANES];
            GONOGO_UNROLL
            for (int j = 0; j < LANES; ++j)
                block[j] = first + j < count ? part(rows + (first + j) * c + i) * scale - middle : Vec{};
            transpose(block);
            const int64_t columns = width - first < LANES ? width - first : LANES;
            for (int64_t l = 0; l < channels; ++l)
                __builtin_memcpy(packed + (i + l) * width + first, &block[l], 4 * columns);
        }
    }
}

// Where the scores of one tile go: its rows `stride` floats apart; and of each row the LANES smallest over the
// panel's vectors, `least_stride` apart: lane i of `least` is the least of columns i, i + LANES, ...
struct Scores {
    float* scores;
    int64_t stride;
    float* least;
    int64_t least_stride;
};

typedef Vec Tile[TILE_ROWS][PANEL_VECS];

GONOGO_INLINE void start_tile(const float* row_starts, const float* column_starts, Tile sums) {
    for (int r = 0; r < TILE_ROWS; ++r)
        for (int v = 0; v < PANEL_VECS; ++v) sums[r][v] = row_starts[r] + load(column_starts + v * LANES);
}

GONOGO_INLINE void store_tile(const Tile sums, const Scores& to) {
    for (int r = 0; r < TILE_ROWS; ++r) {
        Vec smallest = sums[r][0];
        for (int v = 0; v < PANEL_VECS; ++v) {
            store(to.scores + r * to.stride + v * LANES, sums[r][v]);
            smallest = sums[r][v] < smallest ? sums[r][v] : smallest;
        }
        store(to.least + r * to.least_stride, smallest);
    }
}

// scores = start of the row + start of the column + sum over channels of row * column. The same bits where rows
// and columns change places.
GONOGO_INLINE void score_tile(const float* rows, const float* panel, const float* row_starts,
                              const float* column_starts, int64_t c, const Scores& to) {
    Tile sums;
    start_tile(row_starts, column_starts, sums);
    for (int64_t i = 0; i < c; ++i) {
        Vec columns[PANEL_VECS];
        for (int v = 0; v < PANEL_VECS; ++v) columns[v] = load(panel + i * PANEL + v * LANES);
        for (int r = 0; r < TILE_ROWS; ++r) {
            const Vec row = splat(rows[i * TILE_ROWS + r]);
            for (int v = 0; v < PANEL_VECS; ++v) sums[r][v] += row * columns[v];
        }
    }
    store_tile(sums, to);
}

// As score_tile, each float being a pair of bfloat16 channels.
#if GONOGO_PAIRS
__attribute__((target("avx512bf16"))) inline void score_tile_pairs(const float* rows, const float* panel,
                                                                   const float* row_starts,
                                                                   const float* column_starts, int64_t pairs,
                                                                   const Scores& to) {
    Tile sums;
    start_tile(row_starts, column_starts, sums);
    for (int64_t i = 0; i < pairs; ++i) {
        __m512bh columns[PANEL_VECS];
        for (int v = 0; v < PANEL_VECS; ++v) columns[v] = (__m512bh)load(panel + i * PANEL + v * LANES);
        for (int r = 0; r < TILE_ROWS; ++r) {
            const __m512bh row = (__m512bh)_mm512_set1_ps(rows[i * TILE_ROWS + r]);
            for (int v = 0; v < PANEL_VECS; ++v)
                sums[r][v] = (Vec)_mm512_dpbf16_ps((__m512)sums[r][v], row, columns[v]);
        }
    }
    store_tile(sums, to);
}

inline bool has_pairs() {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512bf16");
}
#else
inline void score_tile_pairs(const float*, const float*, const float*, const float*, int64_t, const Scores&) {}
inline bool has_pairs() { return false; }
#endif

}  // namespace gonogo
