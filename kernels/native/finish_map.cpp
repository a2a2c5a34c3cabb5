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
#include "vec.h"

namespace gonogo {
namespace {

constexpr int ROWS = 4;              // rows of the map at a time: neighbours share most of their band
constexpr int WIDTH = 2;             // registers per row
constexpr int STEP = WIDTH * LANES;  // cells per row at a time

struct Band {
    int32_t first, last;
};

struct Scale {
    const float* rows;
    int64_t h;
    const Band* bands;    // of the rows
    const float* widened; // (h, padded W): M A_w^T
};

// Cells of a row of n weights from the first to behind the last that is not zero.
Band band_of(const float* weights, int64_t n) {
    int64_t first = 0, last = n;
    while (first < n && weights[first] == 0) ++first;
    while (last > first && weights[last - 1] == 0) --last;
    return {(int32_t)first, (int32_t)last};
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

// widened (h, padded) = M (h, w) times A_w^T, LANES columns at a time; `turned` (w, padded h) and `strip`
// (LANES, padded h) are scratch. Columns behind W repeat nothing: they are zero.
void widen(const float* map, int64_t h, int64_t w, const float* columns, int64_t width, int64_t padded,
           float* turned, float* strip, float* widened) {
    const int64_t tall = round_up(h, LANES);
    for (int64_t x = 0; x < w; ++x) {
        for (int64_t y = 0; y < h; ++y) turned[x * tall + y] = map[y * w + x];
        for (int64_t y = h; y < tall; ++y) turned[x * tall + y] = 0;
    }
    for (int64_t x = 0; x < padded; x += LANES) {
        for (int64_t k = 0; k < LANES; ++k) {
            const bool inside = x + k < width;
            const float* weights = columns + (x + k) * w;
            const Band band = inside ? band_of(weights, w) : Band{0, 0};
            for (int64_t y = 0; y < tall; y += LANES) {
                Vec total = {};
                for (int64_t i = band.first; i < band.last; ++i) total += weights[i] * load(turned + i * tall + y);
                store(strip + k * tall + y, total);
            }
        }
        for (int64_t y = 0; y < h; ++y)
            for (int64_t k = 0; k < LANES; ++k) widened[y * padded + x + k] = strip[k * tall + y];
    }
}

// R rows and STEP columns of A_h (M A_w^T), from row y and column x.
template <int R>
inline void block(const Scale& scale, int64_t y, int64_t x, int64_t padded, float start, Vec (&out)[R][WIDTH]) {
    int64_t first = scale.h, last = 0;
    for (int r = 0; r < R; ++r) {
        for (int k = 0; k < WIDTH; ++k) out[r][k] = splat(start);
        if (scale.bands[y + r].first < first) first = scale.bands[y + r].first;
        if (scale.bands[y + r].last > last) last = scale.bands[y + r].last;
    }
    for (int64_t j = first; j < last; ++j) {
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
    const int64_t most = INT32_MAX;
    return count >= 1 && h >= 1 && w >= 1 && height >= 1 && width >= 1 && h < most && w < most;
}

// Floats of the scratch memory: per scale its widened map, its bands and itself as a `Scale`.
int64_t scale_floats(int64_t h, int64_t height, int64_t width) {
    const int64_t bands = sizeof(Band) / sizeof(float) * height;
    return round_up(h * round_up(width, STEP) + bands, LANES);
}

}  // namespace
}  // namespace gonogo

using namespace gonogo;

// h and w are the greatest of all scales.
GONOGO_API int64_t gonogo_finish_map_workspace(int64_t count, int64_t h, int64_t w, int64_t height, int64_t width,
                                               int) {
    if (!possible(count, h, w, height, width)) return -1;
    const int64_t strips = (w + LANES) * round_up(h, LANES);
    return round_up(count * (int64_t)sizeof(Scale), 64) + 4 * (strips + count * scale_floats(h, height, width));
}

// sizes holds h, w of each scale, none greater than h, w; fusion: 0 product, 1 sum, 2 mean.
GONOGO_API int64_t gonogo_finish_map(const float* const* maps, const float* const* rows,
                                     const float* const* columns, const int64_t* sizes, float* map, int64_t count,
                                     int64_t h, int64_t w, int64_t height, int64_t width, int fusion, void* scratch,
                                     int threads) {
    if (!possible(count, h, w, height, width) || fusion < PRODUCT || fusion > MEAN) return 1;
    Scale* const scales = (Scale*)scratch;
    float* const turned = (float*)((char*)scratch + round_up(count * (int64_t)sizeof(Scale), 64));
    float* const strip = turned + w * round_up(h, LANES);
    float* next = strip + LANES * round_up(h, LANES);
    const int64_t padded = round_up(width, STEP);
    float start = 0;
    for (int64_t s = 0; s < count; ++s, next += scale_floats(h, height, width)) {
        const int64_t own_h = sizes[2 * s], own_w = sizes[2 * s + 1];
        if (own_h < 1 || own_h > h || own_w < 1 || own_w > w) return 1;
        Band* const bands = (Band*)(next + h * padded);
        for (int64_t y = 0; y < height; ++y) bands[y] = band_of(rows[s] + y * own_h, own_h);
        widen(maps[s], own_h, own_w, columns[s], width, padded, turned, strip, next);
        scales[s] = {rows[s], own_h, bands, next};
        start += poison(maps[s], own_h * own_w);
    }
    parallel((height + ROWS - 1) / ROWS, threads, [&](int64_t from, int64_t to, int) {
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
