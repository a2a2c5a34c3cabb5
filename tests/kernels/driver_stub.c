// A libcuda that says yes to everything and does nothing: with it the real cuda-core can be driven without a GPU.
// Handles are numbers; pinned memory is memory. Launches, copies and graph launches are written to stderr.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uintptr_t handle = 0x100000;
static void* const context = (void*)0x5000;

static int yes(void) { return 0; }
static int no(void) { return 801; }  // not supported
static int new_handle(void** to) { return *to = (void*)(handle += 0x1000), 0; }
static int get_context(void** to) { return *to = context, 0; }
static int context_of(void* stream, void** to) { return *to = context, 0; }
static int pinned(void** to, size_t n) { return *to = aligned_alloc(4096, (n + 4095) / 4096 * 4096), 0; }
static int release(void* memory) { return free(memory), 0; }
static int version(int* to) { return *to = 13000, 0; }
static int one(int* to) { return *to = 1, 0; }
static int device(int* to, int ordinal) { return *to = ordinal, 0; }
static int attribute(int* to, int which, int d) { return *to = which == 75 ? 8 : which == 76 ? 7 : 1, 0; }
static int name(char* to, int n, int d) { return strncpy(to, "stub", n), 0; }
static int is_capturing;
static int capturing(void* stream, int* status) { return *status = is_capturing, 0; }
static int capture_info(void* stream, int* status, uint64_t* id, void** to) {
    *status = is_capturing;
    if (id) *id = 1;
    if (to) *to = context;
    return 0;
}
static int elapsed(float* ms) { return *ms = 1.5f, 0; }
static int launch(void* config, void* kernel, void** parameters) { return fputs("launch\n", stderr), 0; }
static int copy(void) { return fputs("copy\n", stderr), 0; }
static int begin(void* stream, int mode) {
    is_capturing = 1;
    return fprintf(stderr, "capture %d\n", mode), 0;
}
static int end(void* stream, void** to) {
    is_capturing = 0;
    return new_handle(to);
}
static int graph(void) { return fputs("graph\n", stderr), 0; }

static const struct {
    const char* name;
    void* function;
} functions[] = {
    {"cuDriverGetVersion", version}, {"cuDeviceGetCount", one}, {"cuDeviceGet", device},
    {"cuDeviceGetAttribute", attribute}, {"cuDeviceGetName", name}, {"cuDevicePrimaryCtxRetain", get_context},
    {"cuCtxGetCurrent", get_context}, {"cuCtxGetDevice", yes}, {"cuStreamGetCtx", context_of},
    {"cuStreamCreateWithPriority", new_handle}, {"cuStreamCreate", new_handle}, {"cuEventCreate", new_handle},
    {"cuEventElapsedTime", elapsed}, {"cuMemAllocHost", pinned}, {"cuMemFreeHost", release},
    {"cuMemAllocFromPoolAsync", new_handle}, {"cuMemAllocAsync", new_handle}, {"cuMemAlloc", new_handle},
    {"cuDeviceGetDefaultMemPool", new_handle}, {"cuDeviceGetMemPool", new_handle}, {"cuMemPoolCreate", new_handle},
    {"cuLibraryLoadData", new_handle}, {"cuLibraryGetKernel", new_handle}, {"cuKernelGetFunction", new_handle},
    {"cuLaunchKernelEx", launch}, {"cuMemcpyAsync", copy}, {"cuStreamIsCapturing", capturing}, {"cuStreamGetCaptureInfo", capture_info},
    {"cuStreamBeginCapture", begin}, {"cuStreamEndCapture", end},
    {"cuGraphInstantiate", new_handle}, {"cuGraphInstantiateWithParams", new_handle}, {"cuGraphLaunch", graph},
    {"cuGetExportTable", no},
};

static void* find(const char* wanted) {
    for (size_t i = 0; i < sizeof functions / sizeof *functions; ++i)
        if (strcmp(functions[i].name, wanted) == 0) return functions[i].function;
    return yes;
}

int cuGetProcAddress_v2(const char* wanted, void** to, int release_of, uint64_t flags, int* status) {
    *to = strncmp(wanted, "cuGetProcAddress", 16) == 0 ? (void*)cuGetProcAddress_v2 : find(wanted);
    if (status) *status = 0;
    return 0;
}
int cuInit(unsigned flags) { return 0; }
int cuGetExportTable(void) { return no(); }
int cuDriverGetVersion(int* to) { return version(to); }
int cuDeviceGetCount(int* to) { return one(to); }
int cuDeviceGetAttribute(int* to, int which, int d) { return attribute(to, which, d); }
