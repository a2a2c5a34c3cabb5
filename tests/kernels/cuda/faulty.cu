// What test_host.py runs: each kernel shows one thing that the host must do, or must notice.
#include "device.cuh"

extern "C" __global__ void halves(const f16* in, float* out, f16* back, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        out[i] = to_float(in[i]);
        back[i] = to_half(out[i]);
    }
}

extern "C" __global__ void rounded(const float* in, f16* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = to_half(in[i]);
}

// One warp: d (16 x 8) = a (16 x 16) b (16 x 8), with fragments read from memory as device.cuh draws them.
extern "C" __global__ void product(const f16* a, const f16* b, float* d) {
    const int g = threadIdx.x / 4, t = threadIdx.x % 4;
    unsigned rows[4], columns[2];
    for (int i = 0; i < 4; ++i) {
        const f16* from = a + (g + i % 2 * 8) * 16 + 2 * t + i / 2 * 8;
        rows[i] = from[0] | (unsigned)from[1] << 16;
    }
    for (int i = 0; i < 2; ++i) {
        const f16* from = b + (2 * t + i * 8) * 8 + g;
        columns[i] = from[0] | (unsigned)from[8] << 16;
    }
    float sums[4] = {};
    mma(sums, rows, columns);
    for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sums[i];
}

// The same with fragments loaded as matrices through shared memory; b is (8, 16), its rows are the columns.
extern "C" __global__ void product_of_matrices(const f16* a, const f16* b, float* d) {
    SHARED(f16, left, [16][16]);
    SHARED(f16, right, [16][16]);
    for (int i = threadIdx.x; i < 256; i += 32) {
        left[i / 16][i % 16] = a[i];
        right[i / 16][i % 16] = i < 128 ? b[i] : 0;
    }
    __syncthreads();
    const int lane = threadIdx.x;
    unsigned rows[4], columns[4];
    load_matrices(rows, &left[lane % 16][lane / 16 * 8]);
    load_matrices(columns, &right[lane % 8][lane / 8 % 2 * 8]);
    const unsigned pair[2] = {columns[0], columns[1]};
    float sums[4] = {};
    mma(sums, rows, pair);
    for (int i = 0; i < 4; ++i) d[(lane / 4 + i / 2 * 8) * 8 + 2 * (lane % 4) + i % 2] = sums[i];
}

extern "C" __global__ void transposed(const f16* in, f16* out) {
    SHARED(f16, tile, [32][8]);
    for (int i = 0; i < 8; ++i) tile[threadIdx.x][i] = in[threadIdx.x * 8 + i];
    __syncthreads();
    unsigned words[4];
    load_matrices_transposed(words, tile[threadIdx.x]);
    for (int m = 0; m < 4; ++m) {
        f16* to = out + m * 64 + threadIdx.x / 4 * 8 + 2 * (threadIdx.x % 4);
        to[0] = (f16)words[m];
        to[1] = (f16)(words[m] >> 16);
    }
}

extern "C" __global__ void shuffles(int* out) {
    const int lane = threadIdx.x % 32;
    out[threadIdx.x] = __shfl_xor_sync(WARP, lane, 1);
    out[64 + threadIdx.x] = __shfl_down_sync(WARP, lane, 3);
    out[128 + threadIdx.x] = __shfl_up_sync(WARP, lane, 3);
    out[192 + threadIdx.x] = __shfl_sync(WARP, lane, 5, 8);
    out[256 + threadIdx.x] = (int)__ballot_sync(WARP, lane % 3 == 0);
    out[320 + threadIdx.x] = (int)warp_sum((float)lane);
}

// Each thread reads what the one opposite wrote.
extern "C" __global__ void reversed(const float* in, float* out, int with_barrier) {
    SHARED_DYNAMIC(float, tile);
    const int i = threadIdx.x, n = blockDim.x;
    tile[i] = in[blockIdx.x * n + i];
    if (with_barrier) __syncthreads();
    out[blockIdx.x * n + i] = tile[n - 1 - i];
}

extern "C" __global__ void too_much_shared(int* out) {
    SHARED(int, first, [12000]);
    SHARED(int, second, [300]);
    first[threadIdx.x] = second[threadIdx.x] = 1;
    __syncwarp();
    out[threadIdx.x] = first[threadIdx.x] + second[threadIdx.x];
}

extern "C" __global__ void half_a_barrier(int* out) {
    if (threadIdx.x < 32) __syncthreads();
    out[threadIdx.x] = 1;
}

extern "C" __global__ void two_barriers(int* out) {
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
    out[threadIdx.x] = 1;
}

extern "C" __global__ void lane_missing(int* out) {
    if (threadIdx.x == 7) return;
    out[threadIdx.x] = __shfl_xor_sync(WARP, 1, 1);
}

extern "C" __global__ void lane_elsewhere(int* out) {
    if (threadIdx.x < 16)
        out[threadIdx.x] = __shfl_xor_sync(WARP, 1, 1);
    else
        out[threadIdx.x] = __shfl_xor_sync(WARP, 2, 1);
}

extern "C" __global__ void writes_at(float* out, int i) { out[i] = 1; }

extern "C" __global__ void reads_at(const float* in, float* out, int i) { out[0] = in[i]; }
