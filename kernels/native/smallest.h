// The few smallest of a long row of scores that arrives in pieces: what may be among them is collected, and
// pruned by bisection when the list is full. Nothing is sorted.
#pragma once
#include <algorithm>
#include <limits>

#include "vec.h"

namespace gonogo {

constexpr float INF = std::numeric_limits<float>::infinity();
constexpr float NO_LIMIT = std::numeric_limits<float>::max();

#if defined(__AVX512F__)
#define GONOGO_MASK(v, limit, sign, name) _mm512_cmp_ps_mask((__m512)(v), (__m512)(limit), _CMP_##name##_OQ)
#elif defined(__AVX__)
#define GONOGO_MASK(v, limit, sign, name) \
    _mm256_movemask_ps(_mm256_cmp_ps((__m256)(v), (__m256)(limit), _CMP_##name##_OQ))
#elif defined(__SSE__)
#define GONOGO_MASK(v, limit, sign, name) _mm_movemask_ps((__m128)((v)sign(limit)))
#else
#define GONOGO_MASK(v, limit, sign, name) mask_of((v)sign(limit))
template <class Comparison>
uint32_t mask_of(Comparison lanes) {
    uint32_t bits = 0;
    for (int i = 0; i < LANES; ++i) bits |= (uint32_t)(lanes[i] != 0) << i;
    return bits;
}
#endif

// Bit i: lane i is below (at most) the limit; NaN never is.
inline uint32_t lanes_below(Vec v, float limit) { return GONOGO_MASK(v, splat(limit), <, LT); }
inline uint32_t lanes_at_most(Vec v, Vec limits) { return GONOGO_MASK(v, limits, <=, LE); }
inline uint32_t lanes_at_most(Vec v, float limit) { return lanes_at_most(v, splat(limit)); }
#undef GONOGO_MASK

// What of a row was collected. A score of at most `limit` may be among the smallest; NaN and +inf never are.
struct Smallest {
    float* scores;
    int32_t* rows;
    int count;
    float limit;
};

// Floats that a list needs: twice the result and one vector, so that it is pruned once for `keep` arrivals.
inline int64_t capacity(int64_t keep) { return round_up(2 * keep + LANES, 16); }

// Appends the chosen of LANES scores and their rows; these may stand in the list itself, not before its end.
inline Smallest append(Smallest list, const float* scores, const int32_t* rows, uint32_t chosen) {
#if defined(__AVX512F__)
    const __mmask16 mask = (__mmask16)chosen;
    const __m512i moved = _mm512_maskz_compress_epi32(mask, _mm512_loadu_si512(rows));
    // To a register and then to memory: compressing straight into memory is microcode on AMD.
    _mm512_storeu_ps(list.scores + list.count, _mm512_maskz_compress_ps(mask, _mm512_loadu_ps(scores)));
    _mm512_storeu_si512(list.rows + list.count, moved);
    list.count += __builtin_popcount(chosen);
#else
    for (; chosen != 0; chosen &= chosen - 1) {
        const int lane = __builtin_ctz(chosen);
        list.scores[list.count] = scores[lane];
        list.rows[list.count++] = rows[lane];
    }
#endif
    return list;
}

// The same with rows that follow each other from `first` on.
inline Smallest append(Smallest list, const float* scores, int32_t first, uint32_t chosen) {
    typedef int32_t Rows __attribute__((vector_size(4 * LANES)));
    Rows rows;
    GONOGO_UNROLL
    for (int i = 0; i < LANES; ++i) rows[i] = i;
    rows += first;
    return append(list, scores, (const int32_t*)&rows, chosen);
}

// How many of `count` values, a multiple of LANES, are at most `limit`.
inline int count_at_most(const float* values, int count, float limit) {
    int found = 0;
    for (int i = 0; i < count; i += LANES) found += __builtin_popcount(lanes_at_most(load(values + i), limit));
    return found;
}

inline float least_of(Vec v) {
    float lanes[LANES];
    store(lanes, v);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) lanes[i] = lanes[i + half] < lanes[i] ? lanes[i + half] : lanes[i];
    return lanes[0];
}

// A limit that at least `keep` of the values do not exceed: exactly `keep`, or after enough steps the keep-th
// smallest value itself; NO_LIMIT where fewer are finite. `count` is a multiple of LANES.
inline float limit_of(const float* values, int count, int keep, int steps) {
    Vec least = splat(INF), greatest = least;  // the greatest, negated
    for (int i = 0; i < count; i += LANES) {
        const Vec v = load(values + i);
        least = v < least ? v : least;
        greatest = (-v < greatest) & (v < INF) ? -v : greatest;
    }
    float low = least_of(least), high = -least_of(greatest);
    int under = count_at_most(values, count, low), over = count_at_most(values, count, high);
    if (under >= keep) return low;
    if (over < keep) return NO_LIMIT;
    for (; over > keep && steps > 0; --steps) {
        // By turns where an even spread has the keep-th value, which is fast, and in the middle, which is safe.
        const float share = steps % 2 != 0 ? 0.5f : (float)(keep - under) / (float)(over - under);
        const float middle = low + (high - low) * share;
        if (middle <= low || middle >= high) {
            if (steps % 2 != 0) break;
            continue;
        }
        const int found = count_at_most(values, count, middle);
        (found >= keep ? high : low) = middle;
        (found >= keep ? over : under) = found;
    }
    return high;
}

// A limit that at least `keep` of many values do not exceed, and seldom many more, from the least of groups:
// `vectors` of LANES values each, all of different columns.
inline float limit_of_groups(const float* values, int vectors, int keep) {
    constexpr int MOST = 16;
    const int wanted = (keep + keep / 2) / LANES + 1, groups = wanted < MOST ? wanted : MOST;
    if (vectors <= groups) return limit_of(values, vectors * LANES, keep, 8);
    float least[MOST * LANES];
    for (int i = 0; i < groups; ++i) {
        Vec v = load(values + i * LANES);
        for (int j = i + groups; j < vectors; j += groups) {
            const Vec other = load(values + j * LANES);
            v = other < v ? other : v;
        }
        store(least + i * LANES, v);
    }
    return limit_of(least, groups * LANES, keep, 8);
}

// Cuts the list to its `keep` smallest; of equal scores the first stay, which are those of the smallest rows.
inline Smallest prune(Smallest list, int keep) {
    if (list.count <= keep) return list;
    const int count = (int)round_up(list.count, LANES);
    for (int i = list.count; i < count; ++i) list.scores[i] = INF;
    // 800 steps, half of them halvings, separate any two floats.
    const float limit = limit_of(list.scores, count, keep, 800);
    const float below = std::nextafter(limit, -INF);
    int ties = keep - count_at_most(list.scores, count, below);
    list.count = 0;
    for (int i = 0; i < count && list.count < keep; i += LANES) {
        uint32_t chosen = lanes_at_most(load(list.scores + i), limit);
        for (uint32_t equal = chosen & ~lanes_below(load(list.scores + i), limit); equal != 0; equal &= equal - 1)
            if (--ties < 0) chosen &= ~(equal & -equal);
        list = append(list, list.scores + i, list.rows + i, chosen);
    }
    list.limit = std::min(list.limit, below);  // what left the list before was above its limit
    return list;
}

}  // namespace gonogo
