// Packs the rows of a bank once, to be searched many times by knn_distance.
// rows (m, c) f32 row-major, finite or not; packed: gonogo_knn_bank_size bytes, aligned to 64. m, c >= 1.
// `paired` 1: channels in bfloat16 beside exact bounds, only where gonogo_knn_bank_paired says so.
#include "bank.h"
#include "threads.h"

namespace gonogo {

void survey(const Bank& bank, double* sums) {
    const int64_t c = bank.c;
    Vec most = {};
    float largest = 0;
    std::fill(sums, sums + c, 0.0);
    for (int64_t row = 0; row < bank.m; ++row) {
        const float* values = bank.rows + row * c;
        for (int64_t i = 0; i < c; ++i) sums[i] += values[i];
        int64_t i = 0;
        for (; i + LANES <= c; i += LANES) {
            const Vec v = load(values + i), size = v < 0 ? -v : v;
            most = size > most ? size : most;
        }
        for (; i < c; ++i) largest = std::max(largest, std::fabs(values[i]));
    }
    for (int i = 0; i < LANES; ++i) largest = std::max(largest, most[i]);
    bool finite = true;
    for (int64_t i = 0; i < c; ++i) {
        bank.centre[i] = (float)(sums[i] / (double)bank.m);
        finite &= std::isfinite(sums[i]);
    }
    *bank.scale = !finite ? NAN : largest > 0 ? std::ldexp(1.0f, std::min(-std::ilogb(largest), 126)) : 0;
}

int64_t pack_scratch(int64_t c, int threads) {
    return round_up(8 * c, 64) + round_up(4 * c * PANEL, 64) * shares(MAX_THREADS, threads);
}

void pack_bank(const Bank& bank, char* scratch, int threads) {
    survey(bank, (double*)scratch);
    if (!bank.usable()) return;
    const int64_t c = bank.c;
    char* const wide = scratch + round_up(8 * c, 64);
    parallel(bank.panel_count(), threads, [&](int64_t first, int64_t last, int share) {
        for (int64_t row = first * PANEL; row < last * PANEL; row += PANEL)
            pack_rows<PANEL>(bank, bank.rows + row * c, std::min<int64_t>(PANEL, bank.m - row), 1,
                             (float*)(wide + share * round_up(4 * c * PANEL, 64)),
                             bank.panels + row * bank.words(), bank.starts + row);
    });
}

}  // namespace gonogo

using namespace gonogo;

GONOGO_API int64_t gonogo_knn_bank_paired() { return has_pairs(); }

GONOGO_API int64_t gonogo_knn_bank_size(int64_t m, int64_t c, int64_t paired) {
    if (m < 1 || m >= INT32_MAX - 1024 || c < 1 || (paired && !has_pairs())) return -1;
    return (int64_t)((char*)Bank(nullptr, m, c, paired, nullptr).end - (char*)nullptr);
}

GONOGO_API int64_t gonogo_knn_bank_workspace(int64_t c, int threads) { return c < 1 ? -1 : pack_scratch(c, threads); }

GONOGO_API int64_t gonogo_knn_bank(const float* rows, void* packed, int64_t m, int64_t c, int64_t paired, void* scratch,
                                   int threads) {
    if (m < 1 || c < 1) return 1;
    pack_bank(Bank(rows, m, c, paired, packed), (char*)scratch, threads);
    return 0;
}
