// Distance between two feature maps, cell by cell: cosine or Euclidean.
// Reference: kernels/reference.py, distance_map.
// first, second (n, C), distance (n,); all f32 row-major, sums in f32. n, C >= 1. Threads share the cells.
#include <cfloat>

#include "threads.h"
#include "vec.h"

namespace gonogo {
namespace {

constexpr int CHAINS = 2;  // independent sums, so that one addition need not wait for the one before

struct Products {
    float ab, aa, bb;
};

// The three inner products of one cell; both maps are read once.
inline Products products(const float* a, const float* b, int64_t c) {
    Vec ab[CHAINS] = {}, aa[CHAINS] = {}, bb[CHAINS] = {};
    auto add = [&](int chain, Vec p, Vec q) {
        ab[chain] += p * q;
        aa[chain] += p * p;
        bb[chain] += q * q;
    };
    int64_t i = 0;
    for (; i + CHAINS * LANES <= c; i += CHAINS * LANES)
        for (int k = 0; k < CHAINS; ++k) add(k, load(a + i + k * LANES), load(b + i + k * LANES));
    for (; i + LANES <= c; i += LANES) add(0, load(a + i), load(b + i));
    if (i < c) add(0, load_part(a + i, c - i), load_part(b + i, c - i));
    for (int k = 1; k < CHAINS; ++k) {
        ab[0] += ab[k];
        aa[0] += aa[k];
        bb[0] += bb[k];
    }
    return {sum(ab[0]), sum(aa[0]), sum(bb[0])};
}

inline float cosine_distance(const float* a, const float* b, int64_t c) {
    const Products p = products(a, b, c);
    const float lengths = std::sqrt(p.aa) * std::sqrt(p.bb);
    const float distance = 1 - p.ab / (lengths < FLT_MIN ? FLT_MIN : lengths);
    // Rounding can push it below 0. NaN < 0 is false: NaN stays.
    return distance < 0 ? 0 : distance;
}

inline float euclidean_distance(const float* a, const float* b, int64_t c) {
    Vec total[CHAINS] = {};
    auto add = [&](int chain, Vec difference) { total[chain] += difference * difference; };
    int64_t i = 0;
    for (; i + CHAINS * LANES <= c; i += CHAINS * LANES)
        for (int k = 0; k < CHAINS; ++k) add(k, load(a + i + k * LANES) - load(b + i + k * LANES));
    for (; i + LANES <= c; i += LANES) add(0, load(a + i) - load(b + i));
    if (i < c) add(0, load_part(a + i, c - i) - load_part(b + i, c - i));
    for (int k = 1; k < CHAINS; ++k) total[0] += total[k];
    return std::sqrt(sum(total[0]));
}

}  // namespace
}  // namespace gonogo

using namespace gonogo;

GONOGO_API int64_t gonogo_distance_map_workspace(int64_t n, int64_t c, int) { return n < 1 || c < 1 ? -1 : 0; }

// kind: 0 cosine, 1 Euclidean.
GONOGO_API int64_t gonogo_distance_map(const float* first, const float* second, float* distance, int64_t n,
                                       int64_t c, int kind, void*, int threads) {
    if (n < 1 || c < 1 || kind < 0 || kind > 1) return 1;
    parallel(n, threads, [&](int64_t from, int64_t to, int) {
        for (int64_t i = from; i < to; ++i)
            distance[i] = kind == 0 ? cosine_distance(first + i * c, second + i * c, c)
                                    : euclidean_distance(first + i * c, second + i * c, c);
    });
    return 0;
}
