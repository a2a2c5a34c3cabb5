// CUDA C++ on the CPU, for tests: what kernels/cuda/device.cuh includes where the compiler is g++.
//
// One block runs at a time, each of its threads as a fiber; see cuhost.cpp for the order in which they run and for
// the errors that are found. Shared memory is full of NaN when a block starts.
#pragma once
#include <math.h>
#include <string.h>

#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define INLINE static inline

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x, y, z; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(4) uchar4 { unsigned char x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace host {

// What one lane brings to an operation of its warp, and where it wants the result.
struct Lane {
    const void* in;
    void* out;
};
// Computes the results of all lanes of `mask`; of the other lanes nothing is known.
typedef void (*Combine)(const Lane (&lanes)[32], unsigned mask);

void barrier(int line);
void collective(int line, unsigned mask, Combine combine, const void* in, void* out);
void* shared_variable(int key, size_t size);
void* shared_dynamic();

template <class T, class U>
inline T bits(U value) {
    static_assert(sizeof(T) == sizeof(U));
    T result;
    memcpy(&result, &value, sizeof result);
    return result;
}

template <class T>
struct Shuffle {
    T value;
    int from;  // a lane
};

template <class T>
void shuffle(const Lane (&lanes)[32], unsigned mask) {
    for (int i = 0; i < 32; ++i) {
        if (!(mask >> i & 1)) continue;
        const int from = ((const Shuffle<T>*)lanes[i].in)->from;
        // The value of a lane that takes no part is undefined.
        if (mask >> from & 1)
            memcpy(lanes[i].out, &((const Shuffle<T>*)lanes[from].in)->value, sizeof(T));
        else
            memset(lanes[i].out, 0xff, sizeof(T));
    }
}

template <class T>
T shuffled(int line, unsigned mask, T value, int from) {
    const Shuffle<T> in = {value, from};
    T out;
    collective(line, mask, shuffle<T>, &in, &out);
    return out;
}

inline int lane() { return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32; }
inline int inside(int from) { return from >= 0 && from < 32 ? from : lane(); }

// `width` cuts the warp into groups that count their lanes from 0.
template <class T>
T shuffled_in(int line, unsigned mask, T value, int from, int width = 32) {
    return shuffled(line, mask, value, lane() / width * width + from % width);
}

void meet(const Lane (&lanes)[32], unsigned mask);
void ballot(const Lane (&lanes)[32], unsigned mask);
void multiply(const Lane (&lanes)[32], unsigned mask);
void matrices(const Lane (&lanes)[32], unsigned mask);
void matrices_transposed(const Lane (&lanes)[32], unsigned mask);

inline void warp_barrier(int line, unsigned mask = 0xffffffffu) { collective(line, mask, meet, nullptr, nullptr); }

inline unsigned balloted(int line, unsigned mask, bool vote) {
    unsigned out;
    collective(line, mask, ballot, &vote, &out);
    return out;
}

struct Product {
    unsigned a[4], b[2];
    float d[4];
};

inline void multiplied(int line, float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    Product in;
    memcpy(in.a, a, sizeof a);
    memcpy(in.b, b, sizeof b);
    memcpy(in.d, d, sizeof d);
    collective(line, 0xffffffffu, multiply, &in, d);
}

inline void loaded(int line, unsigned (&words)[4], const unsigned short* row, Combine combine) {
    collective(line, 0xffffffffu, combine, row, words);
}

float from_half(unsigned short bits);
unsigned short half_of(float value);

// One letter per parameter: p pointer, i 32-bit integer, l 64-bit integer, f float, ? anything else.
template <class T>
constexpr char letter() {
    if (std::is_pointer_v<T>) return 'p';
    if (std::is_integral_v<T>) return sizeof(T) == 4 ? 'i' : sizeof(T) == 8 ? 'l' : '?';
    return std::is_same_v<T, float> ? 'f' : '?';
}

template <class... A>
struct Signature {
    static constexpr char letters[] = {letter<A>()..., 0};
};

template <class... A>
constexpr const char* letters(void (*)(A...)) { return Signature<A...>::letters; }

// Calls a kernel with the arguments that an array points to, as the driver does.
template <class... A, size_t... I>
void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*(A*)arguments[I]...);
}
template <class... A>
void call(void (*kernel)(A...), void** arguments) {
    call(kernel, arguments, std::index_sequence_for<A...>());
}

}  // namespace host

// What the library exports for one kernel.
#define HOST_KERNEL(name)                                                               \
    extern "C" const char* name##_parameters() { return host::letters(name); }          \
    extern "C" void name##_thread(void** arguments) { host::call(name, arguments); }

#define SHARED(type, name, ...)    \
    typedef type name##_t __VA_ARGS__; \
    name##_t& name = *(name##_t*)host::shared_variable(__COUNTER__, sizeof(name##_t))
#define SHARED_DYNAMIC(type, name) type* const name = (type*)host::shared_dynamic()

#define __syncthreads() host::barrier(__LINE__)
#define __shfl_sync(mask, value, from, ...) host::shuffled_in(__LINE__, mask, value, from, ##__VA_ARGS__)
#define __shfl_xor_sync(mask, value, change) host::shuffled(__LINE__, mask, value, host::lane() ^ (change))
#define __shfl_down_sync(mask, value, step) host::shuffled(__LINE__, mask, value, host::inside(host::lane() + (step)))
#define __shfl_up_sync(mask, value, step) host::shuffled(__LINE__, mask, value, host::inside(host::lane() - (step)))
#define __ballot_sync(mask, vote) host::balloted(__LINE__, mask, vote)
#define __any_sync(mask, vote) (host::balloted(__LINE__, mask, vote) != 0)
#define __all_sync(mask, vote) (host::balloted(__LINE__, mask, vote) == (mask))
#define __syncwarp(...) host::warp_barrier(__LINE__, ##__VA_ARGS__)
#define __threadfence() ((void)0)
#define __threadfence_block() ((void)0)

inline float __int_as_float(int value) { return host::bits<float>(value); }
inline float __uint_as_float(unsigned value) { return host::bits<float>(value); }
inline int __float_as_int(float value) { return host::bits<int>(value); }
inline unsigned __float_as_uint(float value) { return host::bits<unsigned>(value); }
inline int __clz(int value) { return value ? __builtin_clz(value) : 32; }
inline int __ffs(int value) { return __builtin_ffs(value); }
inline int __popc(unsigned value) { return __builtin_popcount(value); }
inline float rsqrtf(float value) { return 1 / sqrtf(value); }
template <class T>
inline T __ldg(const T* from) { return *from; }
template <class T>
inline T __ldcg(const T* from) { return *from; }
template <class T>
inline T min(T a, T b) { return b < a ? b : a; }
template <class T>
inline T max(T a, T b) { return a < b ? b : a; }

// One thread runs at a time.
template <class T>
inline T atomicExch(T* at, T value) {
    const T old = *at;
    *at = value;
    return old;
}
template <class T>
inline T atomicAdd(T* at, T value) {
    static_assert(std::is_integral_v<T>, "sums of floats depend on the order of the threads");
    return atomicExch(at, (T)(*at + value));
}
template <class T>
inline T atomicMax(T* at, T value) { return atomicExch(at, max(*at, value)); }
template <class T>
inline T atomicMin(T* at, T value) { return atomicExch(at, min(*at, value)); }
template <class T>
inline T atomicOr(T* at, T value) { return atomicExch(at, (T)(*at | value)); }
inline unsigned atomicInc(unsigned* at, unsigned last) { return atomicExch(at, *at >= last ? 0 : *at + 1); }
template <class T>
inline T atomicCAS(T* at, T expected, T value) { return *at == expected ? atomicExch(at, value) : *at; }

// Twins of what device.cuh writes in PTX.
inline float to_float(unsigned short bits) { return host::from_half(bits); }
inline unsigned short to_half(float value) { return host::half_of(value); }

#define mma_step(d, a, b) host::multiplied(__LINE__, d, a, b)
#define load_matrices(words, row) host::loaded(__LINE__, words, row, host::matrices)
#define load_matrices_transposed(words, row) host::loaded(__LINE__, words, row, host::matrices_transposed)
