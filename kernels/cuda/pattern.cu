// Copies n numbers: the pattern after which a kernel is added, see docs/kernels.md. Nothing launches it but its test.
// Reference: numpy.copyto.
// from, to (n,) f32, both aligned to 16 bytes. n >= 1.
// Grid ceil(n / 1024) blocks of 256 threads; a thread moves four numbers, 16 bytes at once: with fewer, the number
// of loads in flight and not the memory would be the limit.
#include "device.cuh"

constexpr int PER_THREAD = 4;

extern "C" __global__ void pattern(const float* __restrict__ from, float* __restrict__ to, int n) {
    const int first = (blockIdx.x * blockDim.x + threadIdx.x) * PER_THREAD;
    if (first + PER_THREAD <= n)
        *(float4*)(to + first) = *(const float4*)(from + first);
    else
        for (int i = first; i < n; ++i) to[i] = from[i];
}
