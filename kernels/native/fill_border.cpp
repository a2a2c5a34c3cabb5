// The full grid from its inner cells, a border ring overwritten by the minimum or by the nearest kept cell.
// Reference: kernels/finish.py, fill_border.
// errors (rows, columns), grid (rows + 2 s, columns + 2 s) with s = ring - cut; all f32 row-major.
// rows, columns > 2 cut; 0 <= cut <= ring.
#include "threads.h"
#include "vec.h"

using namespace gonogo;

GONOGO_API int64_t gonogo_fill_border_workspace(int64_t rows, int64_t columns, int64_t cut, int) {
    return cut < 0 || rows <= 2 * cut || columns <= 2 * cut ? -1 : 0;
}

// mode: 0 minimum over all errors, 1 nearest kept cell.
GONOGO_API int64_t gonogo_fill_border(const float* errors, float* grid, int64_t rows, int64_t columns, int64_t cut,
                                      int64_t ring, int mode, void*, int) {
    if (cut < 0 || ring < cut || rows <= 2 * cut || columns <= 2 * cut || mode < 0 || mode > 1) return 1;
    const int64_t skipped = ring - cut, h = rows + 2 * skipped, w = columns + 2 * skipped;
    float least = errors[0];
    // NaN is less than no number, but it must not get lost.
    for (int64_t i = 1; i < rows * columns; ++i)
        if (errors[i] < least || errors[i] != errors[i]) least = errors[i];
    for (int64_t y = 0; y < h; ++y)
        for (int64_t x = 0; x < w; ++x) {
            const int64_t v = y < ring ? ring : y < h - ring ? y : h - 1 - ring;
            const int64_t u = x < ring ? ring : x < w - ring ? x : w - 1 - ring;
            const bool kept = v == y && u == x;
            grid[y * w + x] = kept || mode == 1 ? errors[(v - skipped) * columns + u - skipped] : least;
        }
    return 0;
}
