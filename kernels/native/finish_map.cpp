// Anomaly map from the error maps of all scales: each becomes A_h M A_w^T, and they are fused cell by cell.
// Reference: kernels/reference.py, finish_map; the score is in score_map.cpp.
// Per scale maps[s] (h, w), rows[s] (H, h), columns[s] (W, w); map (H, W); all f32 row-major, sums in f32.
// Scales, h, w, H, W >= 1. Threads share the rows of the map.
//
// Each row of a matrix is zero outside a short band (bilinear and Gaussian reach a few cells), so that only
// the band is multiplied. A zero weight times a value that is no finite number is NaN in the reference: here
// one such value makes the whole map NaN.
#include <cmath>

#include "threads.h"
#include "transpose.h"
#include "vec.h"

namespace gonogo {
namespace {

constexpr int ROWS = 4;              // rows of the map at a time: neighbours share most of their band
constexpr int WIDTH = 2;             // registers per row
constexpr int STEP = WIDTH * LANES;  // cells per row at a time

struct Band {
    int64_t first, last;
};

struct Scale {
    const float* rows;
    int64_t h;
    const Band* bands;     // of ROWS rows each
    const float* widened;  // (h, padded W): M A_w^T
};

// Columns from the first to behind the last that is not zero in all of `count` rows of n weights.
Band band_of(const float* weights, int64_t count, int64_t n, int32_t* used) {
    for (int64_t j = 0; j < n; ++j) used[j] = weights[j] != 0;
    for (int64_t r = 1; r < count; ++r)
        for (int64_t j = 0; j < n; ++j) used[j] |= weights[r * n + j] != 0;
    Band band = {0, n};
    while (band.first < n && !used[band.first]) ++band.first;
    while (band.last > band.first && !used[band.last - 1]) --band.last;
    return band;
}

// 0, or NaN where a value of the map is not a finite number.
float poison(const float* map, int64_t n) {
    float lanes[LANES] = {};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; ++k) lanes[k] += 0 * map[i + k];
    for (; i < n; ++i) lanes[0] += 0 * map[i];
    float total = 0;
    for (int k = 0; k < LANES; ++k) total += lanes[k];
    return total;
}

// widened (h, padded W) = M (h, w) times A_w^T, LANES rows and columns at a time, zero behind W. Scratch:
// `turned` (w, padded h), `used` (w).
void widen(const float* map, int64_t h, int64_t w, const float* columns, int64_t width, int64_t padded,
           float* turned, int32_t* used, float* widened) {
    const int64_t tall = round_up(h, LANES);
    for (int64_t x = 0; x < w; ++x) {
        for (int64_t y = 0; y < h; ++y) turned[x * tall + y] = map[y * w + x];
        for (int64_t y = h; y < tall; ++y) turned[x * tall + y] = 0;
    }
    for (int64_t x = 0; x < padded; x += LANES) {
        const int64_t count = width - x < LANES ? width - x : LANES;
        const Band band = count > 0 ? band_of(columns + x * w, count, w, used) : Band{0, 0};
        for (int64_t y = 0; y < h; y += LANES) {
            Vec totals[LANES] = {};
            for (int64_t k = 0; k < count; ++k) {
                const float* weights = columns + (x + k) * w;
                Vec total = {};
                for (int64_t i = band.first; i < band.last; ++i) total += weights[i] * load(turned + i * tall + y);
                totals[k] = total;
            }
            transpose(totals);
            for (int64_t i = 0; i < LANES && y + i < h; ++i) store(widened + (y + i) * padded + x, totals[i]);
        }
    }
}

// R rows and STEP columns of A_h (M A_w^T), from row y and column x.
template <int R>
inline void block(const Scale& scale, int64_t y, int64_t x, int64_t padded, float start, Vec (&out)[R][WIDTH]) {
    const Band band = scale.bands[y / ROWS];
    for (int r = 0; r < R; ++r)
        for (int k = 0; k < WIDTH; ++k) out[r][k] = splat(start);
    for (int64_t j = band.first; j < band.last; ++j) {
        const float* from = scale.widened + j * padded + x;
        Vec cells[WIDTH];
        for (int k = 0; k < WIDTH; ++k) cells[k] = load(from + k * LANES);
        for (int r = 0; r < R; ++r)
            for (int k = 0; k < WIDTH; ++k) out[r][k] += scale.rows[(y + r) * scale.h + j] * cells[k];
    }
}

enum Fusion { PRODUCT, SUM, MEAN };

template <int R>
void fuse_rows(const Scale* scales, int64_t count, int64_t y, int64_t width, int64_t padded, int fusion,
               float start, float* map) {
    for (int64_t x = 0; x < width; x += STEP) {
        Vec fused[R][WIDTH], next[R][WIDTH];
        block<R>(scales[0], y, x, padded, start, fused);
        for (int64_t s = 1; s < count; ++s) {
            block<R>(scales[s], y, x, padded, start, next);
            for (int r = 0; r < R; ++r)
                for (int k = 0; k < WIDTH; ++k)
                    fused[r][k] = fusion == PRODUCT ? fused[r][k] * next[r][k] : fused[r][k] + next[r][k];
        }
        for (int r = 0; r < R; ++r)
            for (int k = 0; k < WIDTH; ++k) {
                const Vec cells = fusion == MEAN ? fused[r][k] / (float)count : fused[r][k];
                const int64_t left = width - x - k * LANES;
                float* const to = map + (y + r) * width + x + k * LANES;
                if (left >= LANES)
                    store(to, cells);
                else if (left > 0)
                    store_part(to, cells, left);
            }
    }
}

bool possible(int64_t count, int64_t h, int64_t w, int64_t height, int64_t width) {
    return count >= 1 && h >= 1 && w >= 1 && height >= 1 && width >= 1;
}

int64_t groups(int64_t height) { return (height + ROWS - 1) / ROWS; }

// Bytes of the scratch memory that one scale keeps, and that `widen` takes.
int64_t kept(int64_t h, int64_t height, int64_t width) {
    return round_up((int64_t)sizeof(Band) * groups(height) + 4 * h * round_up(width, STEP), 64);
}

int64_t passing(int64_t h, int64_t w) {
    return round_up(4 * (w * round_up(h, LANES) + (h > w ? h : w)), 64);
}

}  // namespace
}  // namespace gonogo

using namespace gonogo;

// h and w are the greatest of all scales.
GONOGO_API int64_t gonogo_finish_map_workspace(int64_t count, int64_t h, int64_t w, int64_t height, int64_t width,
                                               int) {
    if (!possible(count, h, w, height, width)) return -1;
    return passing(h, w) + count * (kept(h, height, width) + (int64_t)sizeof(Scale));
}

// sizes holds h, w of each scale, none greater than h, w; fusion: 0 product, 1 sum, 2 mean.
GONOGO_API int64_t gonogo_finish_map(const float* const* maps, const float* const* rows,
                                     const float* const* columns, const int64_t* sizes, float* map, int64_t count,
                                     int64_t h, int64_t w, int64_t height, int64_t width, int fusion, void* scratch,
                                     int threads) {
    if (!possible(count, h, w, height, width) || fusion < PRODUCT || fusion > MEAN) return 1;
    float* const turned = (float*)scratch;
    int32_t* const used = (int32_t*)(turned + w * round_up(h, LANES));
    char* next = (char*)scratch + passing(h, w);
    Scale* const scales = (Scale*)(next + count * kept(h, height, width));
    const int64_t padded = round_up(width, STEP);
    float start = 0;
    for (int64_t s = 0; s < count; ++s, next += kept(h, height, width)) {
        const int64_t own_h = sizes[2 * s], own_w = sizes[2 * s + 1];
        if (own_h < 1 || own_h > h || own_w < 1 || own_w > w) return 1;
        float* const widened = (float*)next;
        Band* const bands = (Band*)(widened + h * padded);
        for (int64_t y = 0; y < height; y += ROWS)
            bands[y / ROWS] = band_of(rows[s] + y * own_h, height - y < ROWS ? height - y : ROWS, own_h, used);
        widen(maps[s], own_h, own_w, columns[s], width, padded, turned, used, widened);
        scales[s] = {rows[s], own_h, bands, widened};
        start += poison(maps[s], own_h * own_w);
    }
    parallel(groups(height), threads, [&](int64_t from, int64_t to, int) {
        for (int64_t y = from * ROWS; y < to * ROWS && y < height; y += ROWS) {
            if (y + ROWS <= height)
                fuse_rows<ROWS>(scales, count, y, width, padded, fusion, start, map);
            else
                for (int64_t last = y; last < height; ++last)
                    fuse_rows<1>(scales, count, last, width, padded, fusion, start, map);
        }
    });
    return 0;
}
