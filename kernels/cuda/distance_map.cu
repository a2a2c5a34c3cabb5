// Distance between two feature maps, cell by cell: cosine or Euclidean.
// Reference: kernels/reference.py, distance_map.
// first, second (n, C) f16, or f32 in distance_map_f32; distance (n,) f32; row-major, sums in f32. n, C >= 1.
//
// Both maps are read once and nothing else happens: the limit is the memory. Grid ceil(n * group / 256) blocks of 256
// threads; `group` lanes, a power of two up to 32, share a cell. A lane reads 16 bytes of either map at once; the
// launch picks the smallest group that still reads a cell's row in few steps, so that no lane of a warp idles where
// C is small. C % 8 == 0 and bases aligned to 16 take that way, others go number by number.
#include "device.cuh"

enum Kind { COSINE, L2 };
constexpr float LEAST = 1.17549435e-38f;  // smallest normal number

template <class T>
INLINE void distances(const T* __restrict__ first, const T* __restrict__ second, float* __restrict__ distance, int n,
                      int c, int group, int kind) {
    const int thread = blockIdx.x * blockDim.x + threadIdx.x;
    const int cell = thread / group, lane = thread % group;
    const bool whole = c % EIGHT == 0;
    float ab = 0, aa = 0, bb = 0;
    if (cell < n) {
        const T* const a = first + (long long)cell * c;
        const T* const b = second + (long long)cell * c;
#pragma unroll 2
        for (int i = lane * EIGHT; i < c; i += group * EIGHT) {
            float p[EIGHT], q[EIGHT];
            load_eight(p, a + i, c - i, whole);
            load_eight(q, b + i, c - i, whole);
            for (int k = 0; k < EIGHT; ++k) {
                const float difference = p[k] - q[k];
                aa += kind == L2 ? difference * difference : p[k] * p[k];
                ab += p[k] * q[k];
                bb += q[k] * q[k];
            }
        }
    }
    // All lanes of the warp take part, those behind the last cell with zeros.
    for (int step = group / 2; step > 0; step /= 2) {
        aa += __shfl_xor_sync(WARP, aa, step);
        ab += __shfl_xor_sync(WARP, ab, step);
        bb += __shfl_xor_sync(WARP, bb, step);
    }
    if (cell >= n || lane != 0) return;
    if (kind == L2) {
        distance[cell] = sqrtf(aa);
        return;
    }
    const float lengths = sqrtf(aa) * sqrtf(bb);
    const float result = 1 - ab / (lengths < LEAST ? LEAST : lengths);
    // Rounding can push it below 0. NaN < 0 is false: NaN stays.
    distance[cell] = result < 0 ? 0 : result;
}

extern "C" __global__ void distance_map(const f16* first, const f16* second, float* distance, int n, int c, int group,
                                        int kind) {
    distances(first, second, distance, n, c, group, kind);
}

extern "C" __global__ void distance_map_f32(const float* first, const float* second, float* distance, int n, int c,
                                            int group, int kind) {
    distances(first, second, distance, n, c, group, kind);
}
