// From camera pixels to the network's input: antialiased resize and (value / 255 - mean) / std in one pass.
// Reference: kernels/resize.py, preprocess.
// image (rows, columns, channels) u8, channels 1 or 3 (blue, green, red), `stride` bytes from row to row;
// out (3, height, width) f32 or f16, red, green, blue; all sums in f32. Threads share the strips of LANES output
// rows.
//
// A strip is shrunk downwards first: every source row is converted to float once and lies between the
// centres of two output rows, so it feeds both. Then LANES columns at a time are transposed, so that a
// register holds one column of all the strip's rows, and the horizontal filter needs no step across lanes.
#include <type_traits>

#include "threads.h"
#include "transpose.h"
#include "vec.h"

namespace gonogo {
namespace {

// How one axis is resampled, see kernels/native/resize.py.
struct Axis {
    int64_t in, out, taps;
    const int64_t* first;   // (out) first source position of each output
    const float* weights;   // (out, taps)
    const int64_t* start;   // (out + 1) band i is start[i] .. start[i + 1]: it feeds outputs i and i + 1
    const float* own;       // (in) weight of a source position in output i of its band i
    const float* ahead;     // (in) ... in output i + 1
};

struct Image {
    const uint8_t* pixels;
    int64_t stride, length;  // bytes from row to row, bytes of one row
};

inline void read(const uint8_t* from, Vec& v) { v = load_bytes(from); }
inline void read(const uint8_t* from, float& v) { v = *from; }
inline void get(const float* from, Vec& v) { v = load(from); }
inline void get(const float* from, float& v) { v = *from; }
inline void put(float* to, Vec v) { store(to, v); }
inline void put(float* to, float v) { *to = v; }

// N registers (or single floats) at x: adds source rows first .. last to `here`, and to `next` from zero.
template <class V, int N, bool Ahead>
GONOGO_INLINE void add_rows(const Image& image, int64_t x, int64_t first, int64_t last, const float* own,
                     const float* ahead, bool started, float* here, float* next) {
    constexpr int width = sizeof(V) / sizeof(float);
    V a[N] = {}, b[N] = {};
    if (started) {
        GONOGO_UNROLL
        for (int i = 0; i < N; ++i) get(here + x + i * width, a[i]);
    }
    for (int64_t row = first; row < last; ++row) {
        const uint8_t* const from = image.pixels + row * image.stride + x;
        GONOGO_UNROLL
        for (int i = 0; i < N; ++i) {
            V v;
            read(from + i * width, v);
            a[i] += own[row - first] * v;
            if (Ahead) b[i] += ahead[row - first] * v;
        }
    }
    GONOGO_UNROLL
    for (int i = 0; i < N; ++i) put(here + x + i * width, a[i]);
    if (Ahead) {
        GONOGO_UNROLL
        for (int i = 0; i < N; ++i) put(next + x + i * width, b[i]);
    }
}

template <bool Ahead>
void add_band(const Image& image, int64_t first, int64_t last, const float* own, const float* ahead,
              bool started, float* here, float* next) {
    int64_t x = 0;
    for (; x + 4 * LANES <= image.length; x += 4 * LANES)
        add_rows<Vec, 4, Ahead>(image, x, first, last, own, ahead, started, here, next);
    for (; x + LANES <= image.length; x += LANES)
        add_rows<Vec, 1, Ahead>(image, x, first, last, own, ahead, started, here, next);
    for (; x < image.length; ++x)
        add_rows<float, 1, Ahead>(image, x, first, last, own, ahead, started, here, next);
}

// Output rows first .. last of a strip into `lines`, `pitch` floats apart; there is room for one line more.
// `begun`: the first of them already holds what the band before it gives.
void shrink_rows(const Image& image, const Axis& rows, int64_t first, int64_t last, bool begun, float* lines,
                 int64_t pitch) {
    if (!rows.start) {
        for (int64_t y = first; y < last; ++y, lines += pitch) {
            const int64_t from = rows.first[y];
            add_band<false>(image, from, from + rows.taps, rows.weights + y * rows.taps, nullptr, false,
                            lines, nullptr);
        }
        return;
    }
    const auto band = [&](int64_t i, bool started, float* here, float* next) {
        const int64_t from = rows.start[i];
        add_band<true>(image, from, rows.start[i + 1], rows.own + from, rows.ahead + from, started, here, next);
    };
    // Of the band before the strip only what it gives to the first row is kept.
    if (!begun && first > 0) band(first - 1, false, lines + pitch, lines);
    for (int64_t y = first; y < last; ++y, lines += pitch) band(y, y > 0, lines, lines + pitch);
}

// Columns first .. last (in floats) of LANES lines, each as one register of the LANES rows.
void turn(const float* lines, int64_t pitch, int64_t first, int64_t last, Vec* turned) {
    Vec block[LANES];
    for (int64_t x = first; x < last; x += LANES, turned += LANES) {
        GONOGO_UNROLL
        for (int i = 0; i < LANES; ++i) block[i] = load(lines + i * pitch + x);
        transpose(block);
        GONOGO_UNROLL
        for (int i = 0; i < LANES; ++i) turned[i] = block[i];
    }
}

// One output column of LANES rows, Channels registers.
template <int Channels>
GONOGO_INLINE void shrink_column(const Vec* pixels, const float* weights, int64_t taps, Vec* result) {
    Vec sums[Channels] = {};
    for (int64_t t = 0; t < taps; ++t)
        for (int c = 0; c < Channels; ++c) sums[c] += weights[t] * pixels[t * Channels + c];
    for (int c = 0; c < Channels; ++c) result[c * LANES] = sums[c];
}

template <class Pixel>
struct Target {
    Pixel* pixels;          // float, or Half
    int64_t plane, width;   // pixels from plane to plane and from row to row
    const float *scale, *shift;  // (3)
};

// One block of at most LANES columns, for `count` rows, normalised into the three planes.
template <int Channels, class Pixel>
void normalise(const Vec* block, const Target<Pixel>& out, int64_t y, int64_t count, int64_t x) {
    Vec rows[LANES];
    const int64_t left = out.width - x;
    for (int c = 0; c < 3; ++c) {
        // The camera's channel 0 is blue, the network's is red.
        const Vec* const from = block + (Channels == 3 ? (2 - c) * LANES : 0);
        GONOGO_UNROLL
        for (int i = 0; i < LANES; ++i) rows[i] = out.scale[c] * from[i] + out.shift[c];
        transpose(rows);
        Pixel* to = out.pixels + c * out.plane + y * out.width + x;
        for (int64_t i = 0; i < count; ++i, to += out.width)
            left >= LANES ? store(to, rows[i]) : store_part(to, rows[i], left);
    }
}

template <int Channels, class Pixel>
void shrink_columns(const float* lines, int64_t pitch, const Axis& columns, Vec* turned, const Target<Pixel>& out,
                    int64_t y, int64_t count) {
    Vec block[Channels * LANES] = {};
    for (int64_t x = 0; x < columns.out; x += LANES) {
        const int64_t last = x + LANES < columns.out ? x + LANES : columns.out;
        const int64_t from = columns.first[x], to = columns.first[last - 1] + columns.taps;
        turn(lines, pitch, from * Channels, to * Channels, turned);
        for (int64_t i = x; i < last; ++i)
            shrink_column<Channels>(turned + (columns.first[i] - from) * Channels,
                                    columns.weights + i * columns.taps, columns.taps, block + i - x);
        normalise<Channels>(block, out, y, count, x);
    }
}

// Floats of one line: the row and what `turn` may read beyond it.
int64_t line_pitch(int64_t length) { return round_up(length, LANES) + LANES; }

int64_t scratch_of_one(int64_t columns, int64_t channels) {
    const int64_t length = columns * channels;
    return (LANES + 1) * line_pitch(length) + LANES * line_pitch(length);
}

// The whole image, each thread its share of the strips.
template <int Channels, class Pixel>
void shrink(const Image& image, const Axis& down, const Axis& across, const Target<Pixel>& out, float* scratch,
            int threads) {
    const int64_t pitch = line_pitch(image.length);
    parallel((down.out + LANES - 1) / LANES, threads, [&](int64_t first, int64_t last, int share) {
        float* const lines = scratch + share * scratch_of_one(across.in, Channels);
        Vec* const turned = (Vec*)(lines + (LANES + 1) * pitch);
        for (int64_t strip = first; strip < last; ++strip) {
            const int64_t y = strip * LANES, end = y + LANES < down.out ? y + LANES : down.out;
            shrink_rows(image, down, y, end, strip > first, lines, pitch);
            shrink_columns<Channels>(lines, pitch, across, turned, out, y, end - y);
            // The line after the strip is the beginning of the next strip's first.
            for (int64_t x = 0; x < pitch; ++x) lines[x] = lines[LANES * pitch + x];
        }
    });
}

}  // namespace
}  // namespace gonogo

using namespace gonogo;

GONOGO_API int64_t gonogo_preprocess_workspace(int64_t columns, int64_t channels, int64_t height, int threads) {
    if (columns < 1 || height < 1 || (channels != 1 && channels != 3)) return -1;
    return 4 * shares((height + LANES - 1) / LANES, threads) * scratch_of_one(columns, channels);
}

// half: `out` is f16, else f32.
GONOGO_API int64_t gonogo_preprocess(const uint8_t* image, int64_t stride, int64_t rows, int64_t columns,
                                     int64_t channels, int64_t height, int64_t width, int64_t row_taps,
                                     const int64_t* row_first, const float* row_weights, const int64_t* row_start,
                                     const float* row_own, const float* row_ahead, int64_t column_taps,
                                     const int64_t* column_first, const float* column_weights,
                                     const float* scale, const float* shift, void* out, int half, void* scratch,
                                     int threads) {
    if (rows < 1 || columns < 1 || height < 1 || width < 1 || (channels != 1 && channels != 3)) return 1;
    if (row_taps < 1 || row_taps > rows || column_taps < 1 || column_taps > columns) return 1;
    const Image source = {image, stride, columns * channels};
    const Axis down = {rows, height, row_taps, row_first, row_weights, row_start, row_own, row_ahead};
    const Axis across = {columns, width, column_taps, column_first, column_weights, nullptr, nullptr, nullptr};
    const auto run = [&](auto* pixels) {
        const Target<std::remove_pointer_t<decltype(pixels)>> target = {pixels, height * width, width, scale, shift};
        if (channels == 3)
            shrink<3>(source, down, across, target, (float*)scratch, threads);
        else
            shrink<1>(source, down, across, target, (float*)scratch, threads);
    };
    half ? run((Half*)out) : run((float*)out);
    return 0;
}
