// A vector register of floats, as wide as the instruction set allows; compiled for AVX-512, AVX2, SSE and NEON.
#pragma once
#include <cmath>
#include <cstdint>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define GONOGO_API extern "C" __attribute__((visibility("default")))

// Small arrays of registers stay in registers only where their loops are unrolled in full.
#define GONOGO_INLINE inline __attribute__((always_inline))
#define GONOGO_UNROLL _Pragma("GCC unroll 16")

namespace gonogo {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

typedef float Vec __attribute__((vector_size(4 * LANES)));

inline Vec load(const float* from) {
    Vec v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
}

inline void store(float* to, Vec v) { __builtin_memcpy(to, &v, sizeof v); }

#if defined(__AVX2__) && !defined(__AVX512F__)
// Lanes below `count` all ones, the others zero.
inline __m256i first_lanes(int64_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
#endif

// The first `count` <= LANES floats, zeros behind them; nothing is read beyond.
inline Vec load_part(const float* from, int64_t count) {
#if defined(__AVX512F__)
    return (Vec)_mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), from);
#elif defined(__AVX2__)
    return (Vec)_mm256_maskload_ps(from, first_lanes(count));
#else
    Vec v = {};
    for (int i = 0; i < LANES; ++i) v[i] = i < count ? from[i] : 0;
    return v;
#endif
}

inline void store_part(float* to, Vec v, int64_t count) {
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(to, (__mmask16)((1u << count) - 1), (__m512)v);
#elif defined(__AVX2__)
    _mm256_maskstore_ps(to, first_lanes(count), (__m256)v);
#else
    for (int i = 0; i < count; ++i) to[i] = v[i];
#endif
}

struct Half {
    uint16_t bits;
};

#if !defined(__AVX2__) && !defined(__aarch64__)
// To the nearest half, ties to even; NaN stays NaN.
inline uint16_t half_bits(float value) {
    uint32_t x;
    __builtin_memcpy(&x, &value, sizeof x);
    const uint32_t sign = x >> 16 & 0x8000, size = x & 0x7fffffff;
    if (size > 0x7f800000) return (uint16_t)(sign | 0x7e00);
    if (size >= 0x477ff000) return (uint16_t)(sign | 0x7c00);  // rounds to more than 65504
    if (size >= 0x38800000) return (uint16_t)(sign | ((size + 0xfff + (size >> 13 & 1) - 0x38000000) >> 13));
    // Below the least normal half: adding 0.5 leaves the result in the last bits, rounded by the addition.
    float small;
    __builtin_memcpy(&small, &size, sizeof small);
    small += 0.5f;
    __builtin_memcpy(&x, &small, sizeof x);
    return (uint16_t)(sign | (x - 0x3f000000));
}
#endif

inline void store(Half* to, Vec v) {
#if defined(__AVX512F__)
    _mm256_storeu_si256((__m256i*)to, _mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT));
#elif defined(__AVX2__)
    _mm_storeu_si128((__m128i*)to, _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT));
#elif defined(__aarch64__)
    const float16x4_t halves = vcvt_f16_f32((float32x4_t)v);
    __builtin_memcpy(to, &halves, sizeof halves);
#else
    for (int i = 0; i < LANES; ++i) to[i].bits = half_bits(v[i]);
#endif
}

inline void store_part(Half* to, Vec v, int64_t count) {
    Half halves[LANES];
    store(halves, v);
    __builtin_memcpy(to, halves, count * sizeof(Half));
}

inline Vec splat(float x) { return x - Vec{}; }

// Sum of all lanes, halved until four are left: the compiler keeps halves in registers, an array it would not.
inline float sum(Vec v) {
    typedef float Quarter __attribute__((vector_size(16)));
    Quarter parts[LANES / 4];
    __builtin_memcpy(parts, &v, sizeof v);
    for (int half = LANES / 8; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) parts[i] += parts[i + half];
    return (parts[0][0] + parts[0][2]) + (parts[0][1] + parts[0][3]);
}

inline Vec square_root(Vec v) {
#if defined(__AVX512F__)
    return (Vec)_mm512_sqrt_ps((__m512)v);
#elif defined(__AVX__)
    return (Vec)_mm256_sqrt_ps((__m256)v);
#elif defined(__SSE__)
    return (Vec)_mm_sqrt_ps((__m128)v);
#elif defined(__aarch64__)
    return (Vec)vsqrtq_f32((float32x4_t)v);
#else
    for (int i = 0; i < LANES; ++i) v[i] = std::sqrt(v[i]);
    return v;
#endif
}

// NaN in either stays or not as the comparison says: NaN < 0 is false, so a NaN passes.
inline Vec at_least_zero(Vec v) { return v < 0 ? Vec{} : v; }

// LANES bytes as floats.
inline Vec load_bytes(const uint8_t* from) {
#if defined(__AVX512F__)
    return (Vec)_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)from)));
#elif defined(__AVX2__)
    return (Vec)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)from)));
#elif defined(__SSE4_1__)
    return (Vec)_mm_cvtepi32_ps(_mm_cvtepu8_epi32(_mm_loadu_si32(from)));
#else
    Vec v;
    for (int i = 0; i < LANES; ++i) v[i] = from[i];
    return v;
#endif
}

inline int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

}  // namespace gonogo
