// Euclidean distance from each query row to its k nearest rows of a bank, and which they are.
// Reference: kernels/reference.py, knn_distance.
// queries (n, c), bank (m, c) f32; exclude (n,) i64, the bank row that a query may not find, or -1; may be null.
// distances (n, k) f32 ascending, indices (n, k) i64; all row-major. n, m, c >= 1; 1 <= k <= 64 and <= m, or
// m - 1 where a row is excluded.
//
// |q - b|^2 = |q|^2 + 2 s with the score s = |b|^2 / 2 - q.b, about the bank's mean and scaled by a power of
// two so that nothing over- or underflows. The scores of a strip of bank rows exist at a time, for one tile of
// queries. The k + SPARE best by score are measured again as the sum of (q - b)^2, which orders them: distances
// are exact to rounding. A row is missed only where SPARE others have scores within rounding of its own.
// Threads share the queries; a row's result does not depend on them.
#include <algorithm>
#include <cstring>

#include "panels.h"
#include "smallest.h"
#include "threads.h"

namespace gonogo {
namespace {

constexpr int MOST = 64, SPARE = 4;
constexpr int64_t BLOCK_TILES = 4096 / TILE_ROWS;  // queries packed at a time
constexpr int64_t STRIP_BYTES = 2 << 20;           // packed bank rows at a time, read once for each tile
constexpr int64_t MOST_PANELS = 64;                // bits of a mask

struct Problem {
    const float *queries, *bank;
    const int64_t* exclude;
    float* distances;
    int64_t* indices;
    int64_t n, m, c, k;
    const float* centre;
    float scale;
    bool finite, usable;  // the bank is finite; and not all zeros

    int64_t own(int64_t query) const { return exclude == nullptr ? -1 : exclude[query]; }

    int keep() const { return (int)std::min(k + SPARE, m); }
    int64_t panels() const {
        const int64_t fit = std::min(MOST_PANELS, STRIP_BYTES / (4 * PANEL * c));
        return std::max<int64_t>(1, std::min(fit, (m + PANEL - 1) / PANEL));
    }
};

// The memory of one thread, cut from one piece.
struct Scratch {
    float *tiles, *strip, *bias, *scores, *least, *collected;
    int32_t *strip_rows, *collected_rows;
    Smallest* lists;
    bool* scanned;
    int64_t panels;
    char *begin, *end;

    Scratch(const Problem& p, char* from) : panels(p.panels()), begin(from), end(from) {
        const int64_t rows = std::min(round_up(p.n, TILE_ROWS), BLOCK_TILES * TILE_ROWS), width = panels * PANEL;
        take(tiles, rows * p.c);
        take(strip, width * p.c);
        take(bias, width);
        take(scores, TILE_ROWS * width);
        take(least, TILE_ROWS * panels * LANES);
        take(collected, rows * capacity(p.keep()));
        take(strip_rows, width);
        take(collected_rows, rows * capacity(p.keep()));
        take(lists, rows);
        take(scanned, rows);
    }
    int64_t size() const { return end - begin; }
    template <class T>
    void take(T*& part, int64_t count) {
        part = (T*)end;
        end += round_up(count * (int64_t)sizeof(T), 64);
    }
};

// Sets centre, scale and usable from all bank rows: their mean, and a power of two that brings them to about 1.
void survey(Problem& p, float* centre, double* sums) {
    Vec most = {};
    float largest = 0;
    std::fill(sums, sums + p.c, 0.0);
    for (int64_t row = 0; row < p.m; ++row) {
        const float* values = p.bank + row * p.c;
        for (int64_t i = 0; i < p.c; ++i) sums[i] += values[i];
        int64_t i = 0;
        for (; i + LANES <= p.c; i += LANES) {
            const Vec v = load(values + i), size = v < 0 ? -v : v;
            most = size > most ? size : most;
        }
        for (; i < p.c; ++i) largest = std::max(largest, std::fabs(values[i]));
    }
    for (int i = 0; i < LANES; ++i) largest = std::max(largest, most[i]);
    p.finite = true;
    for (int64_t i = 0; i < p.c; ++i) {
        centre[i] = (float)(sums[i] / (double)p.m);
        p.finite &= std::isfinite(sums[i]);
    }
    p.usable = p.finite && largest > 0;
    p.centre = centre;
    p.scale = p.usable ? std::ldexp(1.0f, std::min(-std::ilogb(largest), 126)) : 1;
}

// Packs one tile of queries, negated; says for each whether it is finite and not absurdly far from the bank.
void pack_queries(const Problem& p, int64_t first, int64_t count, float* tile, bool* scanned) {
    pack<TILE_ROWS>(p.queries + first * p.c, count, p.c, p.centre, -p.scale, tile);
    float sizes[TILE_ROWS] = {};
    for (int64_t i = 0; i < p.c; ++i)
        for (int r = 0; r < TILE_ROWS; ++r) sizes[r] += std::fabs(tile[i * TILE_ROWS + r]);
    for (int r = 0; r < count; ++r) scanned[r] = p.usable && sizes[r] < 1e30f;
}

// Packs the bank rows from `first` on, with the start of their scores; +inf where there is no row.
void pack_strip(const Problem& p, int64_t first, int64_t panels, const Scratch& s) {
    for (int64_t panel = 0; panel < panels; ++panel) {
        const int64_t from = first + panel * PANEL, count = std::min<int64_t>(PANEL, p.m - from);
        float* packed = s.strip + panel * PANEL * p.c;
        pack<PANEL>(p.bank + from * p.c, count, p.c, p.centre, p.scale, packed);
        float squares[PANEL] = {};
        for (int64_t i = 0; i < p.c; ++i)
            for (int j = 0; j < PANEL; ++j) squares[j] += packed[i * PANEL + j] * packed[i * PANEL + j];
        for (int j = 0; j < PANEL; ++j) {
            s.bias[panel * PANEL + j] = j < count ? squares[j] / 2 : INF;
            s.strip_rows[panel * PANEL + j] = (int32_t)(from + j);
        }
    }
}

// Takes the query's own bank row out of its scores.
void take_out(float* scores, float* least, int64_t column) {
    scores[column] = INF;
    const int64_t panel = column / PANEL;
    Vec smallest = splat(INF);
    for (int v = 0; v < PANEL_VECS; ++v) {
        const Vec part = load(scores + panel * PANEL + v * LANES);
        smallest = part < smallest ? part : smallest;
    }
    store(least + panel * LANES, smallest);
}

// The list of a query with what may be among the smallest of a strip's scores.
Smallest collect(Smallest list, int keep, const float* scores, const float* least, const int32_t* rows,
                 int64_t panels) {
    const int room = (int)capacity(keep) - LANES;
    // Each of the least stands for other columns, so that `keep` of them bound the keep-th smallest score.
    if (list.limit == NO_LIMIT) list.limit = limit_of_groups(least, (int)panels, keep);
    uint64_t promising = 0;
    for (int64_t panel = 0; panel < panels; ++panel)
        promising |= (uint64_t)(lanes_at_most(load(least + panel * LANES), list.limit) != 0) << panel;
    for (; promising != 0; promising &= promising - 1) {
        const int64_t panel = __builtin_ctzll(promising);
        for (int64_t at = panel * PANEL; at < (panel + 1) * PANEL; at += LANES) {
            if (list.count > room) list = prune(list, keep);
            list = append(list, scores + at, rows + at, lanes_at_most(load(scores + at), list.limit));
        }
    }
    return list;
}

float squared_distance(const float* q, const float* b, int64_t c, float scale) {
    Vec first = {}, second = {};
    int64_t i = 0;
    for (; i + 2 * LANES <= c; i += 2 * LANES) {
        const Vec p = (load(q + i) - load(b + i)) * scale;
        const Vec o = (load(q + i + LANES) - load(b + i + LANES)) * scale;
        first += p * p;
        second += o * o;
    }
    for (; i < c; i += LANES) {
        const int64_t left = c - i;
        const Vec p = left >= LANES ? load(q + i) - load(b + i) : load_part(q + i, left) - load_part(b + i, left);
        first += p * scale * (p * scale);
    }
    return sum(first + second);
}

// What the scores cannot tell: NaN, infinity, a query too far away for differences between bank rows to count.
float odd_distance(const Problem& p, const float* q, const float* b) {
    double total = p.finite ? 0 : NAN;
    for (int64_t i = 0; i < p.c; ++i) total += ((double)q[i] - b[i]) * ((double)q[i] - b[i]);
    return (float)std::sqrt(total);
}

// The bits of floats >= 0 sort like the floats, NaN last: one integer orders by distance, then by row.
uint64_t key_of(float distance, int64_t row) {
    if (distance != distance) distance = NAN;
    uint32_t bits;
    std::memcpy(&bits, &distance, 4);
    return (uint64_t)bits << 32 | (uint32_t)row;
}

// Writes the k smallest of `count` different keys in order.
void write(const Problem& p, int64_t query, const uint64_t* keys, int count) {
    for (int i = 0; i < count; ++i) {
        int64_t rank = 0;
        for (int j = 0; j < count; ++j) rank += keys[j] < keys[i];
        if (rank >= p.k) continue;
        const uint32_t bits = (uint32_t)(keys[i] >> 32);
        std::memcpy(p.distances + query * p.k + rank, &bits, 4);
        p.indices[query * p.k + rank] = (int64_t)(uint32_t)keys[i];
    }
}

// Measures the rows collected for a query, and keeps the k nearest.
void finish(const Problem& p, int64_t query, const Smallest& list) {
    const float* q = p.queries + query * p.c;
    uint64_t keys[MOST + SPARE];
    for (int i = 0; i < list.count; ++i) {
        // The next row, on its way while this one is measured: each comes from another place.
        const char* next = (const char*)(p.bank + list.rows[i + 1 < list.count ? i + 1 : i] * p.c);
        for (int64_t at = 0; at < 4 * p.c; at += 64) __builtin_prefetch(next + at);
        const float square = squared_distance(q, p.bank + list.rows[i] * p.c, p.c, p.scale);
        keys[i] = key_of(std::sqrt(square) / p.scale, list.rows[i]);
    }
    write(p, query, keys, list.count);
}

// The first k rows: as near as any other, or without a distance.
void finish_odd(const Problem& p, int64_t query) {
    uint64_t keys[MOST];
    int count = 0;
    for (int64_t row = 0; count < p.k; ++row)
        if (row != p.own(query))
            keys[count++] = key_of(odd_distance(p, p.queries + query * p.c, p.bank + row * p.c), row);
    write(p, query, keys, count);
}

// All queries of `first` to `last`, at most one block.
void search(const Problem& p, int64_t first, int64_t last, const Scratch& s) {
    const int64_t room = capacity(p.keep());
    for (int64_t i = 0; i < last - first; ++i)
        s.lists[i] = Smallest{s.collected + i * room, s.collected_rows + i * room, 0, NO_LIMIT};
    for (int64_t tile = first; tile < last; tile += TILE_ROWS)
        pack_queries(p, tile, std::min<int64_t>(TILE_ROWS, last - tile), s.tiles + (tile - first) * p.c,
                     s.scanned + (tile - first));
    const int64_t width = s.panels * PANEL;
    for (int64_t row = 0; row < p.m; row += width) {
        const int64_t panels = std::min(s.panels, (p.m - row + PANEL - 1) / PANEL);
        pack_strip(p, row, panels, s);
        for (int64_t tile = first; tile < last; tile += TILE_ROWS) {
            for (int64_t panel = 0; panel < panels; ++panel)
                score_tile(s.tiles + (tile - first) * p.c, s.strip + panel * PANEL * p.c, s.bias + panel * PANEL,
                           p.c, s.scores + panel * PANEL, width, s.least + panel * LANES, s.panels * LANES);
            for (int64_t query = tile; query < std::min<int64_t>(tile + TILE_ROWS, last); ++query) {
                float* scores = s.scores + (query - tile) * width;
                float* least = s.least + (query - tile) * s.panels * LANES;
                const int64_t own = p.own(query) - row;
                if (own >= 0 && own < panels * PANEL) take_out(scores, least, own);
                Smallest& list = s.lists[query - first];
                if (s.scanned[query - first])
                    list = collect(list, p.keep(), scores, least, s.strip_rows, panels);
            }
        }
    }
    for (int64_t query = first; query < last; ++query) {
        if (s.scanned[query - first])
            finish(p, query, prune(s.lists[query - first], p.keep()));
        else
            finish_odd(p, query);
    }
}

bool possible(int64_t n, int64_t m, int64_t c, int64_t k) {
    return n >= 1 && m >= 1 && m < INT32_MAX - 1024 && c >= 1 && k >= 1 && k <= std::min<int64_t>(m, MOST);
}

}  // namespace
}  // namespace gonogo

using namespace gonogo;

GONOGO_API int64_t gonogo_knn_distance_workspace(int64_t n, int64_t m, int64_t c, int64_t k, int threads) {
    if (!possible(n, m, c, k)) return -1;
    Problem p = {};
    p.n = n, p.m = m, p.c = c, p.k = k;
    const int64_t tiles = (n + TILE_ROWS - 1) / TILE_ROWS;
    return Scratch(p, 0).size() * shares(tiles, threads) + round_up(12 * c, 64);
}

GONOGO_API int64_t gonogo_knn_distance(const float* queries, const float* bank, const int64_t* exclude,
                                       float* distances, int64_t* indices, int64_t n, int64_t m, int64_t c,
                                       int64_t k, void* scratch, int threads) {
    if (!possible(n, m, c, k)) return 1;
    Problem p = {queries, bank, exclude, distances, indices, n, m, c, k, nullptr, 1, true, true};
    double* const sums = (double*)scratch;
    survey(p, (float*)(sums + c), sums);
    char* const shared_end = (char*)scratch + round_up(12 * c, 64);
    parallel((n + TILE_ROWS - 1) / TILE_ROWS, threads, [&](int64_t first, int64_t last, int share) {
        const Scratch s(p, shared_end + share * Scratch(p, 0).size());
        for (; first < last; first += BLOCK_TILES)
            search(p, first * TILE_ROWS, std::min(n, std::min(first + BLOCK_TILES, last) * TILE_ROWS), s);
    });
    return 0;
}
