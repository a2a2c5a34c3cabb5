// The threads of a block as fibers, and the operations in which several of them meet.
//
// Errors that a GPU would answer with garbage or a hang end the launch with a message: threads of a block at
// different barriers, or one that has left; lanes of a warp at different operations, or one that is missing. What
// a missing barrier breaks shows because the order of the threads is drawn: a warp, once chosen, mostly runs as
// far as it can before another one starts. Seed 0 is the plain order.
#include "cuhost.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <vector>

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

// ---- Fibers: gonogo_switch(save, to) leaves the running one, whose stack pointer goes to `save`, and enters `to`.
#if defined(__x86_64__)
extern "C" void gonogo_switch(void** save, void* to);
asm(R"(
.text
.globl gonogo_switch
.hidden gonogo_switch
.type gonogo_switch, @function
gonogo_switch:
    pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
    ret
)");
static void* new_fiber(char* stack, size_t size, void (*entry)()) {
    void** top = (void**)((uintptr_t)(stack + size) & ~(uintptr_t)15);
    *--top = nullptr;  // where entry would return to; it never does
    *--top = (void*)entry;
    return top - 6;
}
#else
#include <ucontext.h>
static void gonogo_switch(void** save, void* to) {
    ucontext_t here;
    *save = &here;
    swapcontext(&here, (ucontext_t*)to);
}
static void* new_fiber(char* stack, size_t size, void (*entry)()) {
    ucontext_t* const context = (ucontext_t*)stack;
    getcontext(context);
    context->uc_stack.ss_sp = stack + sizeof *context;
    context->uc_stack.ss_size = size - sizeof *context;
    context->uc_link = nullptr;
    makecontext(context, entry, 0);
    return context;
}
#endif

namespace host {
namespace {

enum State { READY, AT_BARRIER, IN_WARP, DONE };

struct Fiber {
    void* stack_pointer;
    char* stack;
    uint3 index;
    State state;
    int line;
    unsigned mask;
    Combine combine;
    Lane lane;
};

constexpr size_t STACK = 256 << 10, STATIC_SHARED = 48 << 10;

std::vector<Fiber> fibers;
std::vector<std::pair<void*, size_t>> variables;  // shared memory by key
unsigned char* dynamic;
Fiber* current;
void* scheduler;
void (*kernel)(void**);
void** arguments;
uint64_t dice;
bool shuffled_order;
char error[512];

unsigned drawn(unsigned count) {
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (unsigned)((dice >> 20) % count);
}

void leave() { gonogo_switch(&current->stack_pointer, scheduler); }

void fail(const char* format, ...) {
    char what[300];
    va_list list;
    va_start(list, format);
    vsnprintf(what, sizeof what, format, list);
    va_end(list);
    snprintf(error, sizeof error, "block (%u, %u, %u): %s", blockIdx.x, blockIdx.y, blockIdx.z, what);
}

int number(const Fiber& fiber) { return (int)(&fiber - fibers.data()); }

__attribute__((no_sanitize("address"))) void enter() {
    kernel(arguments);
    current->state = DONE;
    leave();
    abort();
}

// The lanes of `mask` in the warp of a fiber; nullptr, with the error set, where one does not exist.
Fiber* warp_of(const Fiber& fiber) { return &fibers[number(fiber) / 32 * 32]; }

// Lets the warp's operation happen once all lanes that it names have come.
void try_collective(Fiber& last) {
    Fiber* const warp = warp_of(last);
    Lane lanes[32];
    for (int i = 0; i < 32; ++i) {
        if (!(last.mask >> i & 1)) continue;
        Fiber& other = warp[i];
        if (&other >= fibers.data() + fibers.size() || other.state == DONE)
            return fail("line %d: thread %d waits for lane %d, which has left", last.line, number(last), i);
        if (other.state != IN_WARP) return;
        if (other.combine != last.combine || other.line != last.line || other.mask != last.mask)
            return fail("threads %d and %d of a warp meet at lines %d and %d, or with different masks", number(last),
                        number(other), last.line, other.line);
        lanes[i] = other.lane;
    }
    last.combine(lanes, last.mask);
    for (int i = 0; i < 32; ++i)
        if (last.mask >> i & 1) warp[i].state = READY;
}

// All threads wait or are done: the barrier opens, or the block can never end.
void open_barrier() {
    const Fiber* first = nullptr;
    for (const Fiber& fiber : fibers)
        if (fiber.state != DONE && !first) first = &fiber;
    for (const Fiber& fiber : fibers) {
        if (fiber.state == IN_WARP)
            return fail("line %d: thread %d waits for lanes of its warp that do not come", fiber.line, number(fiber));
        if (fiber.state == DONE)
            return fail("line %d: thread %d waits at a barrier, thread %d has left", first->line, number(*first),
                        number(fiber));
        if (fiber.line != first->line)
            return fail("threads %d and %d wait at different barriers, lines %d and %d", number(*first),
                        number(fiber), first->line, fiber.line);
    }
    for (Fiber& fiber : fibers) fiber.state = READY;
}

// Runs one thread until it waits or ends.
void run(Fiber& fiber) {
    current = &fiber;
    threadIdx = fiber.index;
    gonogo_switch(&scheduler, fiber.stack_pointer);
    if (fiber.state == IN_WARP && !*error) try_collective(fiber);
}

// Runs the lanes of a warp until none can go on, or until the dice say otherwise; false where none could.
bool run_warp(size_t warp) {
    const size_t first = warp * 32, count = fibers.size() - first < 32 ? fibers.size() - first : 32;
    bool ran = false;
    for (bool again = true; again && !*error;) {
        again = false;
        const size_t start = shuffled_order ? drawn((unsigned)count) : 0;
        for (size_t i = 0; i < count && !*error; ++i) {
            Fiber& fiber = fibers[first + (start + i) % count];
            if (fiber.state != READY) continue;
            run(fiber);
            ran = again = true;
        }
        if (shuffled_order && drawn(8) == 0) break;
    }
    return ran;
}

bool all_done() {
    for (const Fiber& fiber : fibers)
        if (fiber.state != DONE) return false;
    return true;
}

void run_block(size_t dynamic_size) {
    for (auto& [memory, size] : variables)
        if (memory) memset(memory, 0xff, size);
    memset(dynamic, 0xff, dynamic_size);
    for (size_t i = 0; i < fibers.size(); ++i) {
        const unsigned x = (unsigned)i % blockDim.x, rest = (unsigned)i / blockDim.x;
        fibers[i].index = {x, rest % blockDim.y, rest / blockDim.y};
        fibers[i].state = READY;
        fibers[i].stack_pointer = new_fiber(fibers[i].stack, STACK, enter);
    }
    const size_t warps = (fibers.size() + 31) / 32;
    while (!*error) {
        bool ran = false;
        const size_t start = shuffled_order ? drawn((unsigned)warps) : 0;
        for (size_t i = 0; i < warps && !*error; ++i) ran |= run_warp((start + i) % warps);
        if (ran || *error) continue;
        if (all_done()) return;
        open_barrier();
    }
}

}  // namespace

void barrier(int line) {
    current->line = line;
    current->state = AT_BARRIER;
    leave();
}

void collective(int line, unsigned mask, Combine combine, const void* in, void* out) {
    Fiber& fiber = *current;
    fiber.line = line;
    fiber.mask = mask;
    fiber.combine = combine;
    fiber.lane = {in, out};
    fiber.state = IN_WARP;
    if (!(mask >> (number(fiber) % 32) & 1)) fail("line %d: thread %d is not in its own mask", line, number(fiber));
    leave();
}

void* shared_variable(int key, size_t size) {
    if (variables.size() <= (size_t)key) variables.resize(key + 1);
    auto& [memory, length] = variables[key];
    if (!memory) {
        size_t sum = size;
        for (auto& other : variables) sum += other.second;
        if (sum > STATIC_SHARED) {
            fail("shared arrays of %zu bytes; a kernel's own may have 48 KiB", sum);
            leave();
        }
        memory = malloc(size);
        memset(memory, 0xff, length = size);
    }
    return memory;
}

void* shared_dynamic() { return dynamic; }

void meet(const Lane (&)[32], unsigned) {}

void ballot(const Lane (&lanes)[32], unsigned mask) {
    unsigned votes = 0;
    for (int i = 0; i < 32; ++i)
        if (mask >> i & 1 && *(const bool*)lanes[i].in) votes |= 1u << i;
    for (int i = 0; i < 32; ++i)
        if (mask >> i & 1) *(unsigned*)lanes[i].out = votes;
}

static float half_in(const unsigned* words, int i) { return from_half((unsigned short)(words[i / 2] >> i % 2 * 16)); }

// PTX ISA, "Matrix fragments for mma.m16n8k16 with floating point type".
void multiply(const Lane (&lanes)[32], unsigned) {
    float a[16][16], b[16][8];
    for (int lane = 0; lane < 32; ++lane) {
        const Product& in = *(const Product*)lanes[lane].in;
        const int g = lane / 4, t = lane % 4;
        for (int i = 0; i < 8; ++i) a[g + i / 2 % 2 * 8][2 * t + i % 2 + i / 4 * 8] = half_in(in.a, i);
        for (int i = 0; i < 4; ++i) b[2 * t + i % 2 + i / 2 * 8][g] = half_in(in.b, i);
    }
    for (int lane = 0; lane < 32; ++lane) {
        const Product& in = *(const Product*)lanes[lane].in;
        for (int i = 0; i < 4; ++i) {
            const int row = lane / 4 + i / 2 * 8, column = 2 * (lane % 4) + i % 2;
            float total = in.d[i];
            for (int k = 0; k < 16; ++k) total += a[row][k] * b[k][column];
            ((float*)lanes[lane].out)[i] = total;
        }
    }
}

static const unsigned short* row_of(const Lane (&lanes)[32], int matrix, int row) {
    return (const unsigned short*)lanes[8 * matrix + row].in;
}

static bool aligned(const Lane (&lanes)[32]) {
    for (int lane = 0; lane < 32; ++lane)
        if ((uintptr_t)lanes[lane].in % 16) return fail("a row of a matrix is not aligned to 16 bytes"), false;
    return true;
}

// PTX ISA, ldmatrix.
void matrices(const Lane (&lanes)[32], unsigned) {
    if (!aligned(lanes)) return;
    for (int lane = 0; lane < 32; ++lane)
        for (int m = 0; m < 4; ++m) {
            const unsigned short* const row = row_of(lanes, m, lane / 4) + 2 * (lane % 4);
            ((unsigned*)lanes[lane].out)[m] = row[0] | (unsigned)row[1] << 16;
        }
}

void matrices_transposed(const Lane (&lanes)[32], unsigned) {
    if (!aligned(lanes)) return;
    for (int lane = 0; lane < 32; ++lane)
        for (int m = 0; m < 4; ++m) {
            const int row = 2 * (lane % 4), column = lane / 4;
            ((unsigned*)lanes[lane].out)[m] =
                row_of(lanes, m, row)[column] | (unsigned)row_of(lanes, m, row + 1)[column] << 16;
        }
}

float from_half(unsigned short half) {
    const unsigned sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31, fraction = half & 1023;
    if (exponent == 31) return bits<float>(sign | 0x7f800000u | fraction << 13);
    if (exponent == 0) return (sign ? -1.0f : 1.0f) * (float)fraction * 0x1p-24f;
    return bits<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

unsigned short half_of(float value) {
    const unsigned word = bits<unsigned>(value), sign = word >> 16 & 0x8000u;
    const float size = fabsf(value);
    if (size != size) return 0x7fff;
    if (size >= 65520) return (unsigned short)(sign | 0x7c00u);
    // Below the smallest normal number the steps are of one size: adding and leaving 2^-14's unit rounds.
    if (size < 0x1p-14f) return (unsigned short)(sign | (unsigned)nearbyintf(size * 0x1p24f));
    const unsigned rounded = (word & 0x7fffffffu) + 0xfffu + (word >> 13 & 1);
    return (unsigned short)(sign | (rounded - (112u << 23)) >> 13);
}

}  // namespace host

using namespace host;

// Runs one launch; returns nullptr, or what went wrong (valid until the next launch).
extern "C" const char* host_launch(void (*thread)(void**), const unsigned* grid, const unsigned* block,
                                   unsigned long long dynamic_size, void** values, unsigned long long seed) {
    kernel = thread;
    arguments = values;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    dice = seed * 0x9e3779b97f4a7c15ull + 1;
    shuffled_order = seed != 0;
    *error = 0;
    dynamic = (unsigned char*)malloc(dynamic_size);
    fibers.resize((size_t)block[0] * block[1] * block[2]);
    for (Fiber& fiber : fibers) fiber.stack = (char*)malloc(STACK);
    const unsigned long long blocks = (unsigned long long)grid[0] * grid[1] * grid[2];
    const unsigned long long start = shuffled_order ? drawn((unsigned)blocks) : 0;
    const bool backwards = shuffled_order && drawn(2) == 0;
    for (unsigned long long i = 0; i < blocks && !*error; ++i) {
        const unsigned at = (unsigned)((start + (backwards ? blocks - i : i)) % blocks);
        blockIdx = {at % grid[0], at / grid[0] % grid[1], at / grid[0] / grid[1]};
        run_block(dynamic_size);
    }
    for (Fiber& fiber : fibers) free(fiber.stack);
    for (auto& [memory, size] : variables) free(memory);
    variables.clear();
    free(dynamic);
    return *error ? error : nullptr;
}
