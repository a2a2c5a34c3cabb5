// The cells taken as typical of an image: the smallest distances, ties by index, and their mean feature.
// Reference: kernels/reference.py, select_global; without distances its variant "demo", the first cells.
// features (n, c) f16, distances (n,) f32 >= 0 or null, indices (count,) i32, in order of distance, vector (c,) f32.
// 1 <= count <= n and count <= 1024. For two scales at once: those with n = 0 are not there.
// Grid one block of 1024 threads per scale.
//
// Distance and index together are one key of 64 bits, and no two are equal: the radix selection of the count-th key,
// 8 bits a pass from the highest on, needs no rule for ties. Keys are made anew in each pass, from the L1 cache.
#include "device.cuh"

constexpr int THREADS = 1024, MOST = 1024, BUCKETS = 256;
typedef unsigned long long Key;

struct Scale {
    const f16* features;
    const float* distances;
    int* indices;
    float* vector;
    int n, c, count;
};

// The bits of floats >= 0 sort like the floats; NaN comes last, as NumPy sorts it.
INLINE Key key_of(const Scale& scale, int i) {
    if (!scale.distances) return (Key)i;
    const float distance = scale.distances[i];
    const unsigned bits = distance != distance ? 0xffffffffu : __float_as_uint(distance + 0.0f);  // -0 is 0
    return (Key)bits << 32 | (unsigned)i;
}

// The bucket in which the wanted-th falls, and how many lie before it; by one warp.
INLINE void find_bucket(const int (&histogram)[BUCKETS], int wanted, int (&found)[2]) {
    constexpr int EACH = BUCKETS / 32;
    int own = 0;
    for (int i = 0; i < EACH; ++i) own += histogram[threadIdx.x * EACH + i];
    int before = own;
    for (int step = 1; step < 32; step *= 2) {
        const int other = __shfl_up_sync(WARP, before, step);
        if ((int)threadIdx.x >= step) before += other;
    }
    before -= own;
    for (int i = 0; i < EACH; ++i) {
        const int bucket = threadIdx.x * EACH + i;
        if (before < wanted && wanted <= before + histogram[bucket]) {
            found[0] = bucket;
            found[1] = before;
        }
        before += histogram[bucket];
    }
}

// The count-th smallest key. `histogram` and `found` are shared memory.
INLINE Key select_key(const Scale& scale, int (&histogram)[BUCKETS], int (&found)[2]) {
    Key prefix = 0;
    int wanted = scale.count;
    for (int shift = 56; shift >= 0; shift -= 8) {
        if (shift < 32 && scale.n <= 1 << shift) {  // no index reaches these bits
            prefix <<= 8;
            continue;
        }
        for (int i = threadIdx.x; i < BUCKETS; i += THREADS) histogram[i] = 0;
        __syncthreads();
        for (int i = threadIdx.x; i < scale.n; i += THREADS) {
            const Key key = key_of(scale, i);
            // Two shifts: one of 64 bits is undefined.
            if (key >> shift >> 8 == prefix) atomicAdd(&histogram[key >> shift & (BUCKETS - 1)], 1);
        }
        __syncthreads();
        if (threadIdx.x < 32) find_bucket(histogram, wanted, found);
        __syncthreads();
        prefix = prefix << 8 | (unsigned)found[0];
        wanted -= found[1];
    }
    return prefix;
}

INLINE void select(const Scale& scale) {
    SHARED(int, histogram, [BUCKETS]);
    SHARED(int, found, [2]);
    SHARED(Key, chosen, [MOST]);
    SHARED(int, ordered, [MOST]);
    SHARED(int, filled, [1]);
    if (scale.n == 0) return;
    const Key last = select_key(scale, histogram, found);
    if (threadIdx.x == 0) filled[0] = 0;
    __syncthreads();
    // In whatever order they come; the ranks below do not depend on it.
    for (int i = threadIdx.x; i < scale.n; i += THREADS) {
        const Key key = key_of(scale, i);
        if (key <= last) chosen[atomicAdd(&filled[0], 1)] = key;
    }
    __syncthreads();
    if ((int)threadIdx.x < scale.count) {
        const Key mine = chosen[threadIdx.x];
        int rank = 0;
        for (int i = 0; i < scale.count; ++i) rank += chosen[i] < mine;
        ordered[rank] = (int)(unsigned)mine;
        scale.indices[rank] = (int)(unsigned)mine;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < scale.c; i += THREADS) {
        float sum = 0;
        for (int j = 0; j < scale.count; ++j) sum += to_float(scale.features[(long long)ordered[j] * scale.c + i]);
        scale.vector[i] = sum / (float)scale.count;
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) select_global(
    const f16* features_0, const float* distances_0, int* indices_0, float* vector_0, int n_0, int c_0, int count_0,
    const f16* features_1, const float* distances_1, int* indices_1, float* vector_1, int n_1, int c_1, int count_1) {
    select(blockIdx.x == 0 ? Scale{features_0, distances_0, indices_0, vector_0, n_0, c_0, count_0}
                           : Scale{features_1, distances_1, indices_1, vector_1, n_1, c_1, count_1});
}
