// What remains of each cell after it is rebuilt from its 8 neighbours, pulled towards a global vector.
// Reference: kernels/regression.py, neighbour_regression.
// features (h, w, C), `stride` floats from row to row; target (C), or (h - 2, w - 2, C) with each != 0;
// errors (h - 2, w - 2); all f32 row-major. h, w >= 3. own = 1 - a, pull = a; the ridge of a cell is
// max(floor, ridge * mean diagonal), none where ridge is 0. Threads share the rows.
//
// Step 1: 13 shift maps hold every inner product of two cells at most 2 apart, a 14th the products with one
// global vector. Step 2: LANES cells at a time, one 8x8 system in each lane, so that the elimination has no
// step across lanes; then the residual is formed explicitly.
#include "threads.h"
#include "transpose.h"
#include "vec.h"

namespace gonogo {
namespace {

constexpr int SHIFTS = 13, MAPS = 14, PARTS = 16 / LANES;  // registers that hold 16 sums
constexpr int STEP_Y[8] = {-1, -1, -1, 0, 0, 1, 1, 1};
constexpr int STEP_X[8] = {-1, 0, 1, -1, 1, -1, 0, 1};

// The shifts in half of a 5x5 window: (0, 0..2), then rows 1 and 2 from -2 to 2.
constexpr int shift_index(int dy, int dx) { return dy == 0 ? dx : 5 * dy + dx; }

struct Grid {
    const float* cells;
    int64_t stride, h, w, c;
    const float* at(int64_t y, int64_t x) const { return cells + y * stride + x * c; }
};

// The 14 maps, each (h, pitch); entry (y, x) is the product of cell (y, x) with the one `shift` further.
struct Maps {
    float* values;
    int64_t plane, pitch;
    float* at(int map, int64_t y, int64_t x) const { return values + map * plane + y * pitch + x; }
};

int64_t pitch_of(int64_t w) { return round_up(w, LANES) + LANES; }

// Inner products of x with N vectors, in N lanes of PARTS registers.
template <int N>
GONOGO_INLINE void products(const float* x, const float* const* others, int64_t c, Vec* result) {
    Vec sum[16] = {};
    int64_t i = 0;
    for (; i + LANES <= c; i += LANES) {
        const Vec v = load(x + i);
        GONOGO_UNROLL
        for (int k = 0; k < N; ++k) sum[k] += v * load(others[k] + i);
    }
    if (i < c) {
        const Vec v = load_part(x + i, c - i);
        GONOGO_UNROLL
        for (int k = 0; k < N; ++k) sum[k] += v * load_part(others[k] + i, c - i);
    }
    GONOGO_UNROLL
    for (int part = 0; part < PARTS; ++part) result[part] = sums(sum + part * LANES);
}

// One row of all maps. Where the second cell lies outside the grid the first one stands in; nobody asks.
void correlate_row(const Grid& grid, const float* target, const Maps& maps, int64_t y) {
    const float* others[MAPS];
    for (int64_t x = 0; x < grid.w; x += LANES) {
        Vec block[PARTS][LANES];
        for (int lane = 0; lane < LANES; ++lane) {
            const int64_t column = x + lane < grid.w ? x + lane : grid.w - 1;
            const float* const cell = grid.at(y, column);
            for (int dy = 0; dy < 3; ++dy)
                for (int dx = dy ? -2 : 0; dx <= 2; ++dx) {
                    const bool inside = y + dy < grid.h && column + dx >= 0 && column + dx < grid.w;
                    others[shift_index(dy, dx)] = inside ? grid.at(y + dy, column + dx) : cell;
                }
            others[SHIFTS] = target ? target : cell;
            Vec found[PARTS];
            products<MAPS>(cell, others, grid.c, found);
            for (int part = 0; part < PARTS; ++part) block[part][lane] = found[part];
        }
        for (int part = 0; part < PARTS; ++part) {
            transpose(block[part]);
            for (int i = 0; i < LANES && part * LANES + i < MAPS; ++i)
                store(maps.at(part * LANES + i, y, x), block[part][i]);
        }
    }
}

// LANES systems of 8 equations: the lower half of the matrix and the right-hand side.
struct Systems {
    Vec k[8][8], rhs[8];
};

// Products of cell (y, x + lane) at step i with that at step j, lane by lane; step 8 is the cell itself.
GONOGO_INLINE Vec pair_products(const Maps& maps, int64_t y, int64_t x, int i, int j) {
    int uy = i < 8 ? STEP_Y[i] : 0, ux = i < 8 ? STEP_X[i] : 0;
    int ly = j < 8 ? STEP_Y[j] : 0, lx = j < 8 ? STEP_X[j] : 0;
    if (uy > ly || (uy == ly && ux > lx)) {
        std::swap(uy, ly);
        std::swap(ux, lx);
    }
    return load(maps.at(shift_index(ly - uy, lx - ux), y + uy, x + ux));
}

void fill_systems(const Maps& maps, int64_t y, int64_t x, const Vec* pulls, float own, float pull, float ridge,
                  float floor, Systems& s) {
    Vec diagonal = {};
    GONOGO_UNROLL
    for (int i = 0; i < 8; ++i) {
        GONOGO_UNROLL
        for (int j = 0; j <= i; ++j) s.k[i][j] = pair_products(maps, y, x, i, j);
        diagonal += s.k[i][i];
        const Vec towards = pulls ? pulls[i] : load(maps.at(SHIFTS, y + STEP_Y[i], x + STEP_X[i]));
        s.rhs[i] = own * pair_products(maps, y, x, i, 8) + pull * towards;
    }
    if (ridge <= 0) return;
    const Vec relative = ridge / 8 * diagonal;
    const Vec epsilon = relative < floor ? splat(floor) : relative;
    GONOGO_UNROLL
    for (int i = 0; i < 8; ++i) s.k[i][i] += epsilon;
}

// Solves by K = L D L^T, in place; the solutions replace the right-hand sides.
void solve(Systems& s) {
    Vec inverse[8];
    GONOGO_UNROLL
    for (int j = 0; j < 8; ++j) {
        inverse[j] = 1 / s.k[j][j];
        GONOGO_UNROLL
        for (int i = j + 1; i < 8; ++i) {
            const Vec factor = s.k[i][j] * inverse[j];
            GONOGO_UNROLL
            for (int m = j + 1; m <= i; ++m) s.k[i][m] -= factor * s.k[m][j];
            s.rhs[i] -= factor * s.rhs[j];
        }
    }
    GONOGO_UNROLL
    for (int j = 7; j >= 0; --j) {
        GONOGO_UNROLL
        for (int i = j + 1; i < 8; ++i) s.rhs[j] -= s.k[i][j] * s.rhs[i];
        s.rhs[j] *= inverse[j];
    }
}

// Squares, lane by lane over the channels, of one cell minus the weighted sum of its neighbours.
GONOGO_INLINE Vec residual(const float* cell, const float* const* neighbours, const Vec* weights, int64_t c) {
    Vec squares = {};
    int64_t i = 0;
    for (; i + LANES <= c; i += LANES) {
        Vec rest = load(cell + i);
        GONOGO_UNROLL
        for (int k = 0; k < 8; ++k) rest -= weights[k] * load(neighbours[k] + i);
        squares += rest * rest;
    }
    if (i < c) {
        Vec rest = load_part(cell + i, c - i);
        GONOGO_UNROLL
        for (int k = 0; k < 8; ++k) rest -= weights[k] * load_part(neighbours[k] + i, c - i);
        squares += rest * rest;
    }
    return squares;
}

GONOGO_INLINE void neighbours_of(const Grid& grid, int64_t y, int64_t x, const float** neighbours) {
    for (int k = 0; k < 8; ++k) neighbours[k] = grid.at(y + STEP_Y[k], x + STEP_X[k]);
}

// Products of the neighbours of LANES cells with each cell's own target: lane by lane, for all 8 steps.
void pull_of_each(const Grid& grid, const float* targets, int64_t y, int64_t x, int64_t count, Vec* pulls) {
    float found[8][LANES] = {};
    const float* neighbours[8];
    for (int64_t lane = 0; lane < count; ++lane) {
        Vec sum[PARTS];
        neighbours_of(grid, y, x + lane, neighbours);
        products<8>(targets + ((y - 1) * (grid.w - 2) + x + lane - 1) * grid.c, neighbours, grid.c, sum);
        for (int k = 0; k < 8; ++k) found[k][lane] = sum[k / LANES][k % LANES];
    }
    for (int k = 0; k < 8; ++k) pulls[k] = load(found[k]);
}

void norms_of(const Grid& grid, int64_t y, int64_t x, int64_t count, const Vec* solutions, float* errors) {
    Vec squares[LANES] = {};
    const float* neighbours[8];
    for (int64_t lane = 0; lane < count; ++lane) {
        Vec weights[8];
        GONOGO_UNROLL
        for (int k = 0; k < 8; ++k) weights[k] = splat(((const float*)(solutions + k))[lane]);
        neighbours_of(grid, y, x + lane, neighbours);
        squares[lane] = residual(grid.at(y, x + lane), neighbours, weights, grid.c);
    }
    store_part(errors, square_root(sums(squares)), count);
}

}  // namespace
}  // namespace gonogo

using namespace gonogo;

GONOGO_API int64_t gonogo_neighbour_regression_workspace(int64_t h, int64_t w, int) {
    if (h < 3 || w < 3) return -1;
    return 4 * MAPS * h * pitch_of(w);
}

GONOGO_API int64_t gonogo_neighbour_regression(const float* features, int64_t stride, const float* target,
                                               int64_t each, float* errors, int64_t h, int64_t w, int64_t c,
                                               float own, float pull, float ridge, float floor, void* scratch,
                                               int threads) {
    if (h < 3 || w < 3 || c < 1) return 1;
    const Grid grid = {features, stride, h, w, c};
    const Maps maps = {(float*)scratch, h * pitch_of(w), pitch_of(w)};
    parallel(h, threads, [&](int64_t first, int64_t last, int) {
        for (int64_t y = first; y < last; ++y) correlate_row(grid, each ? nullptr : target, maps, y);
    });
    parallel(h - 2, threads, [&](int64_t first, int64_t last, int) {
        for (int64_t y = first + 1; y <= last; ++y)
            for (int64_t x = 1; x < w - 1; x += LANES) {
                const int64_t count = w - 1 - x < LANES ? w - 1 - x : LANES;
                Vec pulls[8];
                Systems systems;
                if (each) pull_of_each(grid, target, y, x, count, pulls);
                fill_systems(maps, y, x, each ? pulls : nullptr, own, pull, ridge, floor, systems);
                solve(systems);
                norms_of(grid, y, x, count, systems.rhs, errors + (y - 1) * (w - 2) + x - 1);
            }
    });
    return 0;
}
