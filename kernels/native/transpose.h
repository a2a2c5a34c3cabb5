// LANES x LANES floats in registers, rows turned into columns.
#pragma once
#include <utility>

#include "vec.h"

namespace gonogo {

// Lane l of the result is lane i of a, or lane i - LANES of b; the pattern is known to the compiler.
template <int... I>
GONOGO_INLINE Vec pick(Vec a, Vec b) {
#if defined(__clang__)
    return __builtin_shufflevector(a, b, I...);
#else
    typedef int Pattern __attribute__((vector_size(4 * LANES)));
    return __builtin_shuffle(a, b, Pattern{I...});
#endif
}

using Lanes = std::make_integer_sequence<int, LANES>;

// Four rows: in each 128 bits a 4x4 block is transposed.
template <int... L>
GONOGO_INLINE void transpose_quads(Vec* r, std::integer_sequence<int, L...>) {
    const Vec low = pick<(L / 4 * 4 + L % 4 / 2 + L % 2 * LANES)...>(r[0], r[1]);
    const Vec high = pick<(L / 4 * 4 + L % 4 / 2 + L % 2 * LANES + 2)...>(r[0], r[1]);
    const Vec low2 = pick<(L / 4 * 4 + L % 4 / 2 + L % 2 * LANES)...>(r[2], r[3]);
    const Vec high2 = pick<(L / 4 * 4 + L % 4 / 2 + L % 2 * LANES + 2)...>(r[2], r[3]);
    r[0] = pick<(L % 4 < 2 ? L : L - 2 + LANES)...>(low, low2);
    r[1] = pick<(L % 4 < 2 ? L + 2 : L + LANES)...>(low, low2);
    r[2] = pick<(L % 4 < 2 ? L : L - 2 + LANES)...>(high, high2);
    r[3] = pick<(L % 4 < 2 ? L + 2 : L + LANES)...>(high, high2);
}

// Two rows: the 128-bit parts with even and those with odd number, of a and then of b.
template <int... L>
GONOGO_INLINE void divide(Vec& a, Vec& b, std::integer_sequence<int, L...>) {
    const Vec even = pick<(L / 4 * 8 + L % 4)...>(a, b);
    b = pick<(L / 4 * 8 + L % 4 + 4)...>(a, b);
    a = even;
}

GONOGO_INLINE void transpose(Vec* r) {
    GONOGO_UNROLL
    for (int i = 0; i < LANES; i += 4) transpose_quads(r + i, Lanes{});
    if constexpr (LANES == 8) {
        GONOGO_UNROLL
        for (int i = 0; i < 4; ++i) divide(r[i], r[i + 4], Lanes{});
    }
    if constexpr (LANES == 16) {
        GONOGO_UNROLL
        for (int i = 0; i < 4; ++i) {
            divide(r[i], r[i + 4], Lanes{});
            divide(r[i + 8], r[i + 12], Lanes{});
            divide(r[i], r[i + 8], Lanes{});
            divide(r[i + 4], r[i + 12], Lanes{});
        }
    }
}

// The sum of each of LANES registers, in their order.
template <int... L>
GONOGO_INLINE Vec sums(const Vec* r, std::integer_sequence<int, L...> lanes) {
    Vec pairs[LANES / 2], quads[LANES / 4];
    GONOGO_UNROLL
    for (int i = 0; i < LANES / 2; ++i)
        pairs[i] = pick<(L / 4 * 4 + L % 2 * 2 + L % 4 / 2 * LANES)...>(r[2 * i], r[2 * i + 1]) +
                   pick<(L / 4 * 4 + L % 2 * 2 + L % 4 / 2 * LANES + 1)...>(r[2 * i], r[2 * i + 1]);
    GONOGO_UNROLL
    for (int i = 0; i < LANES / 4; ++i)
        quads[i] = pick<(L / 4 * 4 + L % 2 * 2 + L % 4 / 2 * LANES)...>(pairs[2 * i], pairs[2 * i + 1]) +
                   pick<(L / 4 * 4 + L % 2 * 2 + L % 4 / 2 * LANES + 1)...>(pairs[2 * i], pairs[2 * i + 1]);
    GONOGO_UNROLL
    for (int n = LANES / 4; n > 1; n /= 2) {
        GONOGO_UNROLL
        for (int i = 0; i < n / 2; ++i) {
            Vec even = quads[2 * i], odd = quads[2 * i + 1];
            divide(even, odd, lanes);
            quads[i] = even + odd;
        }
    }
    return quads[0];
}

GONOGO_INLINE Vec sums(const Vec* r) { return sums(r, Lanes{}); }

}  // namespace gonogo
