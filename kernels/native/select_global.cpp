// The cells taken as typical of an image: the smallest distances, ties by index, and their mean feature.
// Reference: kernels/reference.py, select_global ("paper").
// features (n, C), distances (n), vector (C) f32; indices (count) i64, in order of distance. 1 <= count <= n.
#include <algorithm>
#include <cstring>

#include "vec.h"

namespace gonogo {
namespace {

// The bits of floats >= 0 sort like the floats; NaN comes last, as NumPy sorts it. The index breaks ties.
uint64_t sort_key(float distance, int64_t index) {
    uint32_t bits;
    const float positive = distance + 0.0f;  // -0 is 0
    std::memcpy(&bits, &positive, sizeof bits);
    bits = distance != distance ? 0xffffffffu : bits >> 31 ? ~bits : bits | 0x80000000u;
    return (uint64_t)bits << 32 | (uint64_t)index;
}

}  // namespace
}  // namespace gonogo

using namespace gonogo;

GONOGO_API int64_t gonogo_select_global_workspace(int64_t n, int64_t c, int64_t count, int) {
    if (n < 1 || n > UINT32_MAX || c < 1 || count < 1 || count > n) return -1;
    return 8 * (n + c);
}

GONOGO_API int64_t gonogo_select_global(const float* features, const float* distances, int64_t* indices,
                                        float* vector, int64_t n, int64_t c, int64_t count, void* scratch, int) {
    if (n < 1 || n > UINT32_MAX || c < 1 || count < 1 || count > n) return 1;
    uint64_t* const keys = (uint64_t*)scratch;
    double* const totals = (double*)(keys + n);
    for (int64_t i = 0; i < n; ++i) keys[i] = sort_key(distances[i], i);
    std::nth_element(keys, keys + count - 1, keys + n);
    std::sort(keys, keys + count);
    std::fill(totals, totals + c, 0.0);
    for (int64_t i = 0; i < count; ++i) {
        indices[i] = (int64_t)(keys[i] & UINT32_MAX);
        const float* const row = features + indices[i] * c;
        for (int64_t k = 0; k < c; ++k) totals[k] += row[k];
    }
    for (int64_t k = 0; k < c; ++k) vector[k] = (float)(totals[k] / (double)count);
    return 0;
}
