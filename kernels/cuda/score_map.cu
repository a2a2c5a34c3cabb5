// Image score of an anomaly map: its maximum, the mean of its greatest cells, or their standard deviation.
// Reference: kernels/finish.py, _score and border_profile.
// map, mask (height, width) f32, mask may be null; score (1,) f32. Scratch: medians (1 + height + width,) f32, null
// where no profile is wanted, and one counter, 0 between launches.
// NaN in a cell is NaN in the score.
//
// One launch. Where the border profile is wanted, a block finds the median of the whole map and one each that of a
// line which the profile reaches; the last of them to finish goes on to the score, alone without a profile. A map of
// 256 x 256 lies in the L2 cache, and reading it five times by one block takes less than launches that share the
// work. Cells of a rank are found digit by digit, 8 bits of the value's bits at a time, which keep the order of the
// floats. The counts are integers: no matter in which order they are added. Each lane counts in a column of its own,
// so that equal digits do not queue.
#include "device.cuh"

constexpr int THREADS = 1024;  // at most
constexpr int DIGITS = 256, LANES = 32;
constexpr int SMOOTH = 2;                         // lines averaged to each side
constexpr float REACH = 0.125f, FULL = 0.0625f;   // as in kernels/finish.py
enum Kind { MAX, MEAN_TOP, STD };

// Unsigned numbers in the order of the floats, and back.
INLINE unsigned key_of(float value) {
    const unsigned bits = __float_as_uint(value);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
INLINE float value_of(unsigned key) { return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key); }

struct Rank {
    unsigned key;  // the key of rank k, from 0, when all are sorted
    int below;     // how many keys are less
};

// The shared memory of `ranked`.
struct Ranking {
    int counts[DIGITS * LANES], totals[DIGITS], chosen[2];
};

// By all threads of a block; `value(i)` gives number i of n.
template <class Value>
INLINE Rank ranked(Ranking& memory, const Value& value, int n, int k) {
    int *const counts = memory.counts, *const totals = memory.totals, *const chosen = memory.chosen;
    const int thread = threadIdx.x, lane = thread % LANES;
    unsigned key = 0, decided = 0;
    int below = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        for (int i = thread; i < DIGITS * LANES; i += blockDim.x) counts[i] = 0;
        __syncthreads();
        for (int i = thread; i < n; i += blockDim.x) {
            const unsigned own = key_of(value(i));
            if ((own & decided) == key) atomicAdd(&counts[(own >> shift & 255) * LANES + lane], 1);
        }
        __syncthreads();
        for (int digit = thread; digit < DIGITS; digit += blockDim.x) {
            int total = 0;
            for (int i = 0; i < LANES; ++i) total += counts[digit * LANES + (i + digit) % LANES];  // a bank each
            totals[digit] = total;
        }
        __syncthreads();
        if (thread < LANES) {
            // A lane has 8 digits; `before` counts what lies below them.
            int sum = 0;
            for (int i = 0; i < DIGITS / LANES; ++i) sum += totals[lane * (DIGITS / LANES) + i];
            int before = sum;
            for (int step = 1; step < LANES; step *= 2) {
                const int other = __shfl_up_sync(WARP, before, step);
                if (lane >= step) before += other;
            }
            before += below - sum;
            for (int i = 0; i < DIGITS / LANES; ++i) {
                const int digit = lane * (DIGITS / LANES) + i;
                if (before <= k && k < before + totals[digit]) {
                    chosen[0] = digit;
                    chosen[1] = before;
                }
                before += totals[digit];
            }
        }
        __syncthreads();
        key |= (unsigned)chosen[0] << shift;
        decided |= 255u << shift;
        below = chosen[1];
    }
    return {key, below};
}

INLINE float add(float a, float b) { return a + b; }
INLINE float greater(float a, float b) { return fmaxf(a, b); }

// All threads get `own` of all threads joined, in the same order in every run.
INLINE float joined(float own, float (*join)(float, float)) {
    SHARED(float, warps, [LANES]);
    for (int step = 16; step > 0; step /= 2) own = join(own, __shfl_xor_sync(WARP, own, step));
    if (threadIdx.x % LANES == 0) warps[threadIdx.x / LANES] = own;
    __syncthreads();
    float all = warps[0];
    for (int i = 1; i < (int)blockDim.x / LANES; ++i) all = join(all, warps[i]);
    __syncthreads();
    return all;
}

template <class Value>
INLINE float median(Ranking& memory, const Value& value, int n) {
    const Rank upper = ranked(memory, value, n, n / 2);
    if (n % 2 == 1 || upper.below < n / 2) return value_of(upper.key);
    float lower = value_of(0x007fffffu);  // minus infinity
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        const float other = value(i);
        if (key_of(other) < upper.key) lower = fmaxf(lower, other);
    }
    return (joined(lower, greater) + value_of(upper.key)) / 2;
}

// Block 0: the whole map. Then 2 * outer_rows blocks for the rows at either end, and 2 * outer_columns.
INLINE void line_median(Ranking& memory, const float* map, float* medians, int height, int width, int outer_rows,
                        int outer_columns) {
    int line = (int)blockIdx.x - 1, n = height * width, first = 0, step = 1, at = 0;
    if (line >= 2 * outer_rows) {
        line -= 2 * outer_rows;
        const int x = line < outer_columns ? line : width - 2 * outer_columns + line;
        n = height, first = x, step = width, at = 1 + height + x;
    } else if (line >= 0) {
        const int y = line < outer_rows ? line : height - 2 * outer_rows + line;
        n = width, first = y * width, at = 1 + y;
    }
    const float result = median(memory, [&](int i) { return map[first + i * step]; }, n);
    if (threadIdx.x == 0) medians[at] = result;
}

INLINE float weight(int i, int n) {
    const float depth = ((float)min(i, n - 1 - i) + 0.5f) / (float)n;
    return fminf(fmaxf((REACH - depth) / (REACH - FULL), 0.0f), 1.0f);
}

// factors[i] = 1 + weight * (smoothed ratio - 1); a ratio is max(1, median of the line / median of the map).
INLINE void profile(const float* medians, float centre, int n, float* factors) {
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        const float share = weight(i, n);
        float sum = 0;
        // Only lines within the reach, and their neighbours, have a median.
        for (int k = i - SMOOTH; share > 0 && k <= i + SMOOTH; ++k) {
            const float ratio = __ldcg(medians + min(max(k, 0), n - 1)) / centre;
            sum += ratio < 1 ? 1 : ratio;  // NaN stays
        }
        factors[i] = share > 0 ? 1 + share * (sum / (2 * SMOOTH + 1) - 1) : 1;
    }
}

// `count` cells are averaged by MEAN_TOP.
extern "C" __global__ void __launch_bounds__(THREADS)
score_map(const float* map, const float* mask, float* medians, unsigned* counter, float* score, int height, int width,
          int outer_rows, int outer_columns, int kind, int count) {
    SHARED(Ranking, memory, );
    SHARED_DYNAMIC(float, factors);  // height + width, where there is a profile
    const int n = height * width;
    float centre = 0;
    if (medians) {
        line_median(memory, map, medians, height, width, outer_rows, outer_columns);
        if (!is_last_block(counter, gridDim.x)) return;
        centre = __ldcg(medians);
    }
    const bool flatten = medians && !(centre <= 0);
    if (flatten) {
        profile(medians + 1, centre, height, factors);
        profile(medians + 1 + height, centre, width, factors + height);
        __syncthreads();
    }
    const auto judged = [&](int i) {
        float value = map[i];
        if (flatten) value /= fmaxf(factors[i / width], factors[height + i % width]);
        return mask ? value * mask[i] : value;
    };
    float poison = 0, greatest = value_of(0x007fffffu), sum = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        const float value = judged(i);
        if (value != value) poison = value;
        greatest = fmaxf(greatest, value);
        sum += value;
    }
    poison = joined(poison, add);
    float result = joined(greatest, greater);
    if (kind == STD) {
        const float mean = joined(sum, add) / (float)n;
        float squares = 0;
        for (int i = threadIdx.x; i < n; i += blockDim.x) squares += (judged(i) - mean) * (judged(i) - mean);
        result = sqrtf(joined(squares, add) / (float)n);
    } else if (kind == MEAN_TOP) {
        const Rank bound = ranked(memory, judged, n, n - count);
        float above = 0;
        int more = 0;
        for (int i = threadIdx.x; i < n; i += blockDim.x) {
            const float value = judged(i);
            if (key_of(value) <= bound.key) continue;
            above += value;
            more += 1;
        }
        // Cells equal to the bound fill the rest; counts stay exact in f32 up to 2^24.
        const float rest = (float)count - joined((float)more, add);
        result = (joined(above, add) + rest * value_of(bound.key)) / (float)count;
    }
    if (threadIdx.x == 0) *score = poison != poison ? poison : result;
}
