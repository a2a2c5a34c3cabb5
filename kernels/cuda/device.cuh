// What the kernels of this folder share: FP16 in registers, shared memory, warp sums, tensor cores.
//
// Valid for nvcc, NVRTC and, through the `#else` branch, for g++: tests/kernels/cuda runs the same kernels on the
// CPU. Hence no host header, not even cuda_fp16.h, and PTX stands here alone, each instruction behind a function
// that has a twin in the host's header. FP16 travels as its bits: f16 is one number, a 32-bit word holds two (the
// one at the lower address in the lower half).
#pragma once

typedef unsigned short f16;

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)

#define INLINE __device__ __forceinline__
// One array of shared memory: SHARED(float, tile, [32][33]). On the host it lies in memory of its own.
#define SHARED(type, name, ...) __shared__ type name __VA_ARGS__
// The shared memory whose size the launch gives, as a pointer to `type`; once per kernel, aligned to 16 bytes.
#define SHARED_DYNAMIC(type, name)                                  \
    extern __shared__ __align__(16) unsigned char gonogo_dynamic[]; \
    type* const name = (type*)gonogo_dynamic

INLINE float to_float(f16 bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

// Rounded to the nearest even; above 65504 infinite.
INLINE f16 to_half(float value) {
    f16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
INLINE void mma_step(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#else
// sm_75 knows the half as deep product only; its fragments are the two halves of the deep one's.
INLINE void mma_step(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    for (int half = 0; half < 2; ++half)
        asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
}
#endif

// Four 8x8 matrices of FP16 from shared memory. Lane l gives the address of row l % 8 of matrix l / 8 (16 bytes,
// aligned); word i of a lane is then row lane / 4, columns 2 (lane % 4) and the next, of matrix i.
INLINE void load_matrices(unsigned (&words)[4], const f16* row) {
    const unsigned address = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(address)
                 : "memory");
}

// The same, each matrix transposed: rows 2 (lane % 4) and the next, column lane / 4.
INLINE void load_matrices_transposed(unsigned (&words)[4], const f16* row) {
    const unsigned address = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(address)
                 : "memory");
}

#else
#include "cuhost.h"
#endif

constexpr unsigned WARP = 0xffffffffu;

// FP16 that carries what another one leaves out counts in this unit: in its own it would often be subnormal.
constexpr float LOW_UNIT = 1.0f / 2048;

INLINE float low_half(unsigned pair) { return to_float((f16)(pair & 0xffffu)); }
INLINE float high_half(unsigned pair) { return to_float((f16)(pair >> 16)); }
INLINE unsigned to_halves(float low, float high) { return (unsigned)to_half(low) | (unsigned)to_half(high) << 16; }

// d (16 x 8, f32) += A (16 x 16, f16) B (16 x 8, f16), by a whole warp. With g = lane / 4 and t = lane % 4:
//   a[0] row g, columns 2t and 2t + 1    a[2] the same row, 8 columns on     b[0] rows 2t and 2t + 1, column g
//   a[1] row g + 8, the same columns     a[3] row g + 8, 8 columns on        b[1] 8 rows on
//   d[0], d[1] row g, columns 2t and 2t + 1; d[2], d[3] row g + 8
INLINE void mma(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { mma_step(d, a, b); }

// Every lane gets the sum over the warp, added in the same order in every run.
INLINE float warp_sum(float value) {
    for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(WARP, value, step);
    return value;
}

// Eight numbers at once: 16 bytes of FP16, 32 of FP32. `count` of them are there, the others become 0; `whole`
// promises that all are and that the address is a multiple of 16.
constexpr int EIGHT = 8;

INLINE void load_eight(float (&to)[EIGHT], const f16* from, int count, bool whole) {
    if (whole) {
        const uint4 words = *(const uint4*)from;
        to[0] = low_half(words.x), to[1] = high_half(words.x), to[2] = low_half(words.y), to[3] = high_half(words.y);
        to[4] = low_half(words.z), to[5] = high_half(words.z), to[6] = low_half(words.w), to[7] = high_half(words.w);
    } else {
        for (int i = 0; i < EIGHT; ++i) to[i] = i < count ? to_float(from[i]) : 0;
    }
}

INLINE void load_eight(float (&to)[EIGHT], const float* from, int count, bool whole) {
    if (whole) {
        const float4 low = *(const float4*)from, high = *(const float4*)(from + 4);
        to[0] = low.x, to[1] = low.y, to[2] = low.z, to[3] = low.w;
        to[4] = high.x, to[5] = high.y, to[6] = high.z, to[7] = high.w;
    } else {
        for (int i = 0; i < EIGHT; ++i) to[i] = i < count ? from[i] : 0;
    }
}

INLINE void store_eight(f16* to, const float (&from)[EIGHT], int count, bool whole) {
    if (whole)
        *(uint4*)to = make_uint4(to_halves(from[0], from[1]), to_halves(from[2], from[3]), to_halves(from[4], from[5]),
                                 to_halves(from[6], from[7]));
    else
        for (int i = 0; i < EIGHT; ++i)
            if (i < count) to[i] = to_half(from[i]);
}

// Whether this block is the last of `blocks` to come here: what the others wrote to global memory before is then
// there to be read, with __ldcg. The counter starts at 0 and is 0 again behind the last block. All threads call it.
INLINE bool is_last_block(unsigned* counter, unsigned blocks) {
    SHARED(unsigned, arrived, [1]);
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0) arrived[0] = atomicInc(counter, blocks - 1);
    __syncthreads();
    const bool last = arrived[0] == blocks - 1;
    if (last) __threadfence();
    return last;
}
