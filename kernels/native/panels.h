// Products of two sets of rows, tile by tile: the rows packed so that the innermost loop reads them in order,
// and a tile of sums that stays in registers from the first channel to the last.
#pragma once
#include "transpose.h"

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
        const Vec middle = part(centre + i);
        for (int first = 0; first < width; first += LANES) {
            Vec block[LANES];
            GONOGO_UNROLL
            for (int j = 0; j < LANES; ++j)
                block[j] = first + j < count ? (part(rows + (first + j) * c + i) - middle) * scale : Vec{};
            transpose(block);
            const int64_t columns = width - first < LANES ? width - first : LANES;
            for (int64_t l = 0; l < channels; ++l)
                __builtin_memcpy(packed + (i + l) * width + first, &block[l], 4 * columns);
        }
    }
}

// scores (TILE_ROWS rows, `stride` floats apart) = bias + sum over channels of rows * panel, and of each row the
// LANES smallest over the panel's vectors: lane i of `least` is the least of columns i, i + LANES, ...
GONOGO_INLINE void score_tile(const float* rows, const float* panel, const float* bias, int64_t c, float* scores,
                       int64_t stride, float* least, int64_t least_stride) {
    Vec sums[TILE_ROWS][PANEL_VECS];
    for (int r = 0; r < TILE_ROWS; ++r)
        for (int v = 0; v < PANEL_VECS; ++v) sums[r][v] = load(bias + v * LANES);
    for (int64_t i = 0; i < c; ++i) {
        Vec columns[PANEL_VECS];
        for (int v = 0; v < PANEL_VECS; ++v) columns[v] = load(panel + i * PANEL + v * LANES);
        for (int r = 0; r < TILE_ROWS; ++r) {
            const Vec row = splat(rows[i * TILE_ROWS + r]);
            for (int v = 0; v < PANEL_VECS; ++v) sums[r][v] += row * columns[v];
        }
    }
    for (int r = 0; r < TILE_ROWS; ++r) {
        Vec smallest = sums[r][0];
        for (int v = 0; v < PANEL_VECS; ++v) {
            store(scores + r * stride + v * LANES, sums[r][v]);
            smallest = sums[r][v] < smallest ? sums[r][v] : smallest;
        }
        store(least + r * least_stride, smallest);
    }
}

}  // namespace gonogo
