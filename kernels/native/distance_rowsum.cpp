// Mean Euclidean distance from each cell to all other cells of the image.
// Reference: kernels/reference.py, distance_rowsum.
// features (n, c), means (n), f32 row-major. n, c >= 1. Threads share the pairs of blocks.
//
// |a - b|^2 = |a|^2 + 2 s with s = |b|^2 / 2 - a.b about the mean, tile by tile. A distance counts for its row
// and for its column, so that only one half of the n x n is computed and none of it is stored: each pair of
// blocks leaves two vectors of sums, which are added in a fixed order. Same bits for any number of threads.
#include <algorithm>
#include <cmath>

#include "panels.h"
#include "threads.h"

namespace gonogo {
namespace {

constexpr int BLOCK = 96;  // cells; a multiple of every TILE_ROWS and PANEL
static_assert(BLOCK % TILE_ROWS == 0 && BLOCK % PANEL == 0, "blocks are cut into tiles and panels");

struct Cells {
    int64_t n, c, blocks;
    float *centre, *tiles, *panels, *halves, *sums;  // sums (blocks, blocks, BLOCK)
    float* sums_of(int64_t row, int64_t column) const { return sums + (row * blocks + column) * BLOCK; }
};

int64_t lay_out(Cells& cells, int64_t n, int64_t c, char* from) {
    const int64_t blocks = (n + BLOCK - 1) / BLOCK, all = blocks * BLOCK;
    float* at = (float*)from;
    const auto take = [&](int64_t count) {
        float* const part = at;
        at += round_up(count, 16);
        return part;
    };
    cells = {n, c, blocks, take(3 * c), take(all * c), take(all * c), take(all), take(blocks * all)};
    return (char*)at - from;
}

void find_centre(const float* features, int64_t n, int64_t c, float* centre) {
    double* const totals = (double*)(centre + round_up(c, 2));
    std::fill(totals, totals + c, 0.0);
    for (int64_t row = 0; row < n; ++row)
        for (int64_t i = 0; i < c; ++i) totals[i] += features[row * c + i];
    for (int64_t i = 0; i < c; ++i) centre[i] = (float)(totals[i] / (double)n);
}

// One block packed both ways, the rows negated; and half the squared norm of each cell.
void pack_block(const float* features, const Cells& cells, int64_t block) {
    const int64_t c = cells.c;
    for (int64_t i = block * BLOCK; i < (block + 1) * BLOCK; i += TILE_ROWS)
        pack<TILE_ROWS>(features + i * c, cells.n - i, c, cells.centre, -1, cells.tiles + i * c);
    for (int64_t i = block * BLOCK; i < (block + 1) * BLOCK; i += PANEL) {
        const float* const packed = cells.panels + i * c;
        pack<PANEL>(features + i * c, cells.n - i, c, cells.centre, 1, cells.panels + i * c);
        Vec half[PANEL_VECS] = {};
        for (int64_t k = 0; k < c; ++k)
            for (int v = 0; v < PANEL_VECS; ++v) {
                const Vec value = load(packed + k * PANEL + v * LANES);
                half[v] += value * value / 2;
            }
        for (int v = 0; v < PANEL_VECS; ++v) store(cells.halves + i + v * LANES, half[v]);
    }
}

// From the scores of one tile to distances: added to the sums of its rows and of its columns.
void add_distances(const Cells& cells, const float* scores, int64_t row, int64_t column, float* row_sums,
                   float* column_sums) {
    Vec columns[PANEL_VECS] = {};
    for (int r = 0; r < TILE_ROWS; ++r) {
        Vec total = {};
        for (int v = 0; v < PANEL_VECS; ++v) {
            const Vec square = 2 * load(scores + r * PANEL + v * LANES);
            Vec distance = square_root(at_least_zero(square));
            const int64_t first = column + v * LANES;
            // A cell is at distance 0 from itself, whatever rounding says; beyond the last there is none.
            if (row + r >= first && row + r < first + LANES) distance[row + r - first] = 0;
            if (first + LANES > cells.n)
                for (int lane = 0; lane < LANES; ++lane)
                    if (first + lane >= cells.n) distance[lane] = 0;
            total += distance;
            columns[v] += distance;
        }
        row_sums[r] += sum(total);
    }
    for (int v = 0; v < PANEL_VECS; ++v)
        store(column_sums + v * LANES, load(column_sums + v * LANES) + columns[v]);
}

// All distances between two blocks, the first not behind the second: it then has no cells beyond the last. Of a
// block with itself both halves, by rows alone.
void add_pair(const Cells& cells, int64_t row_block, int64_t column_block) {
    float unused[BLOCK], scores[TILE_ROWS * PANEL], least[TILE_ROWS * LANES];
    float* const row_sums = cells.sums_of(row_block, column_block);
    float* const column_sums = row_block == column_block ? unused : cells.sums_of(column_block, row_block);
    std::fill(row_sums, row_sums + BLOCK, 0.0f);
    std::fill(column_sums, column_sums + BLOCK, 0.0f);
    for (int j = 0; j < BLOCK; j += PANEL)
        for (int i = 0; i < BLOCK; i += TILE_ROWS) {
            const int64_t row = row_block * BLOCK + i, column = column_block * BLOCK + j;
            score_tile(cells.tiles + row * cells.c, cells.panels + column * cells.c, cells.halves + row,
                       cells.halves + column, cells.c, {scores, PANEL, least, LANES});
            add_distances(cells, scores, row, column, row_sums + i, column_sums + j);
        }
}

}  // namespace
}  // namespace gonogo

using namespace gonogo;

GONOGO_API int64_t gonogo_distance_rowsum_workspace(int64_t n, int64_t c, int) {
    Cells cells;
    return n < 1 || c < 1 ? -1 : lay_out(cells, n, c, nullptr);
}

GONOGO_API int64_t gonogo_distance_rowsum(const float* features, float* means, int64_t n, int64_t c, void* scratch,
                                          int threads) {
    if (n < 1 || c < 1) return 1;
    Cells cells;
    lay_out(cells, n, c, (char*)scratch);
    find_centre(features, n, c, cells.centre);
    const int64_t blocks = cells.blocks;
    parallel(blocks, threads, [&](int64_t first, int64_t last, int) {
        for (int64_t block = first; block < last; ++block) pack_block(features, cells, block);
    });
    parallel(blocks * blocks, threads, [&](int64_t first, int64_t last, int) {
        for (int64_t pair = first; pair < last; ++pair) {
            // Half of the pairs in every row of blocks, the others being their mirror images: equal shares.
            const int64_t row = pair / blocks, column = pair % blocks, ahead = (column - row + blocks) % blocks;
            if (2 * ahead < blocks || (2 * ahead == blocks && row < column)) add_pair(cells, std::min(row, column), std::max(row, column));
        }
    });
    for (int64_t i = 0; i < n; ++i) {
        double total = 0;
        for (int64_t block = 0; block < blocks; ++block) total += cells.sums_of(i / BLOCK, block)[i % BLOCK];
        means[i] = (float)(total / (double)std::max<int64_t>(1, n - 1));
    }
    return 0;
}
