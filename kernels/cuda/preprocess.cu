// From camera pixels to the network's input: crop, antialiased resize and (value / 255 - mean) / std in one launch.
// Reference: kernels/resize.py, preprocess.
// image u8, `channels` 1 or 3 (blue, green, red) per pixel, `stride` bytes from row to row, base aligned to 4;
// out (3, height, width) f16, or f32 in preprocess_f32: red, green, blue. Sums in f32. height, width >= 1.
// The two axes as bands (kernels/cuda/bands.py): output i takes `taps` positions from first[i] on, with weights
// (taps, outputs). normal (6,) f32: factor of each plane, then summand of each plane.
//
// A block makes a tile of tile_h x tile_w outputs. It shrinks downwards into shared memory first, then across: what
// lies between the two filters never leaves the chip. The image comes from memory once; the rows that two tiles or
// two output rows share come from the caches. A thread reads 4 bytes at once where stride % 4 == 0.
//
//        image                 lines (shared)               out
//     .............            tile_h x pitch             tile_h x tile_w
//     .+---------+.   rows    +---------------+  columns   +---+
//     .| pixels  |.  ------>  | float, BGRBGR |  ------->  |   | x 3
//     .+---------+.  weights  +---------------+  weights   +---+
#include "device.cuh"

constexpr int WORD = 4;

struct Axis {
    const int* first;
    const float* weights;
    int taps;
};

INLINE void store(f16* to, float value) { *to = to_half(value); }
INLINE void store(float* to, float value) { *to = value; }

// Four bytes from p, of which `count` are there.
INLINE unsigned load_word(const unsigned char* p, int count, bool whole) {
    if (whole) return __ldg((const unsigned*)p);
    unsigned word = 0;
    for (int k = 0; k < WORD; ++k)
        if (k < count) word |= (unsigned)p[k] << 8 * k;
    return word;
}

template <class T>
INLINE void resize(const unsigned char* __restrict__ image, int stride, int left, int top, int channels, Axis down,
                   Axis across, const float* __restrict__ normal, T* __restrict__ out, int height, int width,
                   int tile_h, int tile_w, int pitch) {
    SHARED_DYNAMIC(float, lines);
    const int y0 = blockIdx.y * tile_h, x0 = blockIdx.x * tile_w;
    const int rows = min(tile_h, height - y0), columns = min(tile_w, width - x0);
    // Bytes of a row that the tile needs, beginning at a multiple of 4.
    const int from = (left + across.first[x0]) * channels / WORD * WORD;
    const int to = (left + across.first[x0 + columns - 1] + across.taps) * channels;
    const int words = (to - from + WORD - 1) / WORD;
    const bool whole = stride % WORD == 0;

    for (int i = threadIdx.x; i < words * rows; i += blockDim.x) {
        const int y = i / words, word = i - y * words;
        const int start = from + word * WORD;
        const unsigned char* p = image + (long long)(top + down.first[y0 + y]) * stride + start;
        float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll 4
        for (int t = 0; t < down.taps; ++t, p += stride) {
            const unsigned bytes = load_word(p, to - start, whole);
            const float weight = __ldg(down.weights + t * height + y0 + y);
            sum.x += weight * (float)(bytes & 0xff);
            sum.y += weight * (float)(bytes >> 8 & 0xff);
            sum.z += weight * (float)(bytes >> 16 & 0xff);
            sum.w += weight * (float)(bytes >> 24);
        }
        *(float4*)(lines + y * pitch + word * WORD) = sum;
    }
    __syncthreads();

    for (int i = threadIdx.x; i < columns * rows * channels; i += blockDim.x) {
        const int x = i % columns, y = i / columns % rows, channel = i / columns / rows;
        const float* const line = lines + y * pitch + (left + across.first[x0 + x]) * channels - from + channel;
        float sum = 0;
        for (int t = 0; t < across.taps; ++t) sum += __ldg(across.weights + t * width + x0 + x) * line[t * channels];
        // The camera's channel 0 is blue, the network's is red; grey is all three.
        for (int plane = 0; plane < 3; ++plane)
            if (channels == 1 || plane == 2 - channel)
                store(out + ((long long)plane * height + y0 + y) * width + x0 + x,
                      sum * normal[plane] + normal[3 + plane]);
    }
}

extern "C" __global__ void preprocess(const unsigned char* image, int stride, int left, int top, int channels,
                                      const int* row_first, const float* row_weights, int row_taps,
                                      const int* column_first, const float* column_weights, int column_taps,
                                      const float* normal, f16* out, int height, int width, int tile_h, int tile_w,
                                      int pitch) {
    resize(image, stride, left, top, channels, Axis{row_first, row_weights, row_taps},
           Axis{column_first, column_weights, column_taps}, normal, out, height, width, tile_h, tile_w, pitch);
}

extern "C" __global__ void preprocess_f32(const unsigned char* image, int stride, int left, int top, int channels,
                                          const int* row_first, const float* row_weights, int row_taps,
                                          const int* column_first, const float* column_weights, int column_taps,
                                          const float* normal, float* out, int height, int width, int tile_h, int tile_w,
                                          int pitch) {
    resize(image, stride, left, top, channels, Axis{row_first, row_weights, row_taps},
           Axis{column_first, column_weights, column_taps}, normal, out, height, width, tile_h, tile_w, pitch);
}
