// Euclidean distance from each query row to its k nearest rows of a bank, and which they are.
// Reference: kernels/reference.py, knn_distance.
// queries (n, c), rows (m, c) f32; packed: the rows as gonogo_knn_bank left them, `paired` as there; itself 1: the
// queries are the rows; exclude (n,) i64, the bank row that a query may not find, or -1; may be null.
// distances (n, k) f32 ascending, indices (n, k) i64; all row-major. n, m, c >= 1; 1 <= k <= 64 and <= m, or
// m - 1 where a row is excluded.
//
// Scores, which are lower bounds (see bank.h), are computed of a strip of bank rows at a time, for one tile of
// queries. The rows with the smallest are measured: the sum of (q - b)^2. Where a row that was not kept could be
// as near as the k-th, the query is measured against all rows. So distances and order are those of measuring
// everything, ties by index, for any number of threads and in both precisions. Of rows at distance 0 all have
// the same score, and the first are kept.
//
// Rows searched among themselves take half the scores: one counts for its row and, mirrored, for its column.
#include <new>

#include "bank.h"
#include "threads.h"

namespace gonogo {
namespace {

constexpr int MOST = 64;                  // k
constexpr int SPARE = 4, SPARE_PAIRED = 28;  // rows kept beyond k: as many as the bounds seldom leave open
constexpr int64_t GROUP = 96;                // rows searched among themselves to their last; whole tiles and panels
constexpr int64_t BLOCK = 42 * GROUP;        // queries packed at a time
constexpr int64_t STRIP_BYTES = 512 << 10;   // bank rows at a time: they stay in the cache, for each tile
constexpr int64_t MOST_PANELS = 64;          // bits of a mask
constexpr int64_t MIRROR_MOST = 1 << 15;     // rows: each thread has a list for all
static_assert(GROUP % TILE_ROWS == 0 && GROUP % PANEL == 0, "groups are cut into tiles and panels");

struct Problem {
    const Bank& bank;
    const float* queries;
    const int64_t* exclude;
    float* distances;
    int64_t* indices;
    int64_t n, k;
    bool itself;  // the queries are the rows

    bool mirrored() const { return itself && n <= MIRROR_MOST; }
    int64_t own(int64_t query) const { return exclude == nullptr ? -1 : exclude[query]; }
    int wanted() const { return (int)k + (exclude != nullptr); }
    int keep() const { return (int)std::min<int64_t>(wanted() + (bank.paired ? SPARE_PAIRED : SPARE), bank.m); }
    int64_t room() const { return capacity(keep()); }
    int64_t block() const { return std::min(round_up(n, GROUP), BLOCK); }
    int64_t panels() const {  // whole groups
        const int64_t fit = std::min({MOST_PANELS, STRIP_BYTES / (4 * PANEL * bank.words()), bank.panel_count()});
        return std::max<int64_t>(1, fit / (GROUP / PANEL)) * (GROUP / PANEL);
    }
};

// A query that the scores leave open, and its list.
struct Open {
    int64_t query;
    Smallest list;
};

// The memory of one thread, cut from one piece: lists of the queries that it collects for, and what a block needs.
struct Share {
    Smallest* lists;
    float *limits, *collected, *tiles, *starts, *wide, *scores, *least;
    int32_t* collected_rows;
    Open* open;
    char *begin, *end;
    int64_t first = 0;  // the query of the first list

    Share(const Problem& p, char* from) : begin(from), end(from) {
        const int64_t count = p.mirrored() ? round_up(p.n, GROUP) : p.block();
        take(lists, count);
        take(limits, count);
        take(collected, count * p.room());
        take(collected_rows, count * p.room());
        take(open, count);
        take(tiles, p.block() * p.bank.words());
        take(starts, p.block());
        take(wide, p.bank.c * TILE_ROWS);
        take(scores, TILE_ROWS * p.panels() * PANEL);
        take(least, TILE_ROWS * p.panels() * LANES);
    }
    int64_t size() const { return end - begin; }
    template <class T>
    void take(T*& part, int64_t count) {
        part = (T*)end;
        end += round_up(count * (int64_t)sizeof(T), 64);
    }

    // Empty lists for these queries; of those beyond the last, nothing is ever as small as their limit.
    void clear(const Problem& p, int64_t from, int64_t to) {
        first = from;
        for (int64_t i = 0; i < to - from; ++i)
            set(from + i, Smallest{collected + i * p.room(), collected_rows + i * p.room(), 0,
                                   from + i < p.n ? NO_LIMIT : -INF});
    }
    Smallest& list(int64_t query) const { return lists[query - first]; }
    float& limit(int64_t query) const { return limits[query - first]; }
    void set(int64_t query, const Smallest& list) const {
        lists[query - first] = list;
        limits[query - first] = list.limit;
    }
};

// Packs a tile of queries, negated. One that is not finite, or absurdly far from the bank, is not searched for.
void pack_tile(const Problem& p, int64_t first, float* tile, float* starts, const Share& s) {
    const int64_t count = std::min<int64_t>(TILE_ROWS, p.n - first);
    pack_rows<TILE_ROWS>(p.bank, p.queries + first * p.bank.c, count, -1, s.wide, tile, starts);
    for (int r = 0; r < count; ++r)
        if (!(starts[r] < 1e30f)) s.limit(first + r) = -INF;
}

// The list of a query with what may be among the smallest of a strip's scores, rows from `row` on.
Smallest collect(Smallest list, int keep, const float* scores, const float* least, int32_t row, int64_t panels) {
    const int room = (int)capacity(keep) - LANES;
    // Each of the least stands for other columns, so that `keep` of them bound the keep-th smallest score.
    if (list.limit == NO_LIMIT) list.limit = limit_of_groups(least, (int)panels, keep);
    uint64_t promising = 0;
    for (int64_t panel = 0; panel < panels; ++panel)
        promising |= (uint64_t)(lanes_at_most(load(least + panel * LANES), list.limit) != 0) << panel;
    for (; promising != 0; promising &= promising - 1) {
        const int32_t panel = __builtin_ctzll(promising);
        for (int32_t at = panel * PANEL; at < (panel + 1) * PANEL; at += LANES) {
            if (list.count > room) list = prune(list, keep);
            list = append(list, scores + at, row + at, lanes_at_most(load(scores + at), list.limit));
        }
    }
    return list;
}

// The scores of a tile seen from the columns of its panel, which are queries too.
void collect_mirrored(const Problem& p, const float* scores, int64_t stride, int64_t row, int64_t column,
                      const Share& s) {
    float values[TILE_ROWS * PANEL + LANES];
    int32_t places[TILE_ROWS * PANEL + LANES];
    Smallest found = {values, places, 0, 0};
    for (int r = 0; r < TILE_ROWS; ++r)
        for (int at = 0; at < PANEL; at += LANES) {
            const float* const from = scores + r * stride + at;
            found = append(found, from, r * PANEL + at, lanes_at_most(load(from), load(&s.limit(column + at))));
        }
    const int room = (int)p.room();
    for (int i = 0; i < found.count; ++i) {
        const int64_t query = column + places[i] % PANEL;
        Smallest& list = s.list(query);
        if (list.count == room) s.set(query, prune(list, p.keep()));
        list.scores[list.count] = values[i];
        list.rows[list.count++] = (int32_t)row + places[i] / PANEL;
    }
}

// Collects for the queries of `first` to `last`, at most BLOCK, from the panels before `end`. Searched among
// themselves, a group of queries takes the rows up to its own last, and those before its own first take it in turn;
// each query meets the rows in their order, so that of equal scores it keeps the first.
void scan(const Problem& p, int64_t first, int64_t last, int64_t end, const Share& s) {
    const Bank& bank = p.bank;
    const int64_t words = bank.words(), width = p.panels() * PANEL;
    const bool mirrored = p.mirrored();
    for (int64_t tile = first; tile < last; tile += TILE_ROWS)
        pack_tile(p, tile, s.tiles + (tile - first) * words, s.starts + tile - first, s);
    for (int64_t start = 0; start < end; start += p.panels())
        for (int64_t tile = first; tile < last; tile += TILE_ROWS) {
            const int64_t group = mirrored ? tile / GROUP * GROUP : 0;
            const int64_t stop = mirrored ? std::min(end, (group + GROUP) / PANEL) : end;
            const int64_t panels = std::min(p.panels(), stop - start);
            for (int64_t panel = 0; panel < panels; ++panel) {
                const int64_t column = (start + panel) * PANEL;
                const Scores to = {s.scores + panel * PANEL, width, s.least + panel * LANES, p.panels() * LANES};
                const float *rows = s.tiles + (tile - first) * words, *starts = s.starts + tile - first;
                if (bank.paired)
                    score_tile_pairs(rows, bank.panels + column * words, starts, bank.starts + column, words, to);
                else
                    score_tile(rows, bank.panels + column * words, starts, bank.starts + column, words, to);
                if (column < group) collect_mirrored(p, to.scores, width, tile, column, s);
            }
            for (int64_t query = tile; panels > 0 && query < std::min(tile + TILE_ROWS, last); ++query)
                if (s.limit(query) > -INF)
                    s.set(query, collect(s.list(query), p.keep(), s.scores + (query - tile) * width,
                                         s.least + (query - tile) * p.panels() * LANES, (int32_t)(start * PANEL),
                                         panels));
        }
}

// Of the scaled rows; a power of two loses nothing, and no difference overflows.
float squared_distance(const float* q, const float* b, int64_t c, float scale) {
    Vec first = {}, second = {};
    int64_t i = 0;
    for (; i + 2 * LANES <= c; i += 2 * LANES) {
        const Vec p = load(q + i) * scale - load(b + i) * scale;
        const Vec o = load(q + i + LANES) * scale - load(b + i + LANES) * scale;
        first += p * p;
        second += o * o;
    }
    for (; i < c; i += LANES) {
        const int64_t left = c - i;
        const auto part = [&](const float* from) { return left >= LANES ? load(from) : load_part(from, left); };
        const Vec p = part(q + i) * scale - part(b + i) * scale;
        first += p * p;
    }
    return sum(first + second);
}

// The bits of floats >= 0 sort like the floats, NaN last: one integer orders by distance, then by row.
uint64_t key_of(float distance, int64_t row) {
    return (uint64_t)bits_of(distance != distance ? NAN : distance) << 32 | (uint32_t)row;
}

float distance_of(uint64_t key) { return float_of((uint32_t)(key >> 32)); }

// Writes the k smallest of `count` different keys in order.
void write(const Problem& p, int64_t query, const uint64_t* keys, int count) {
    for (int i = 0; i < count; ++i) {
        int64_t rank = 0;
        for (int j = 0; j < count; ++j) rank += keys[j] < keys[i];
        if (rank >= p.k) continue;
        p.distances[query * p.k + rank] = distance_of(keys[i]);
        p.indices[query * p.k + rank] = (int64_t)(uint32_t)keys[i];
    }
}

// What the scores cannot tell: NaN, infinity, a query too far away for differences between bank rows to count.
// The first k rows: as near as any other, or without a distance.
void finish_odd(const Problem& p, int64_t query) {
    uint64_t keys[MOST];
    int count = 0;
    for (int64_t row = 0; count < p.k; ++row) {
        if (row == p.own(query)) continue;
        double total = p.bank.finite() ? 0 : NAN;
        for (int64_t i = 0; i < p.bank.c; ++i) {
            const double difference = (double)p.queries[query * p.bank.c + i] - p.bank.rows[row * p.bank.c + i];
            total += difference * difference;
        }
        keys[count++] = key_of((float)std::sqrt(total), row);
    }
    write(p, query, keys, count);
}

// Measures those rows of a pruned list that can be among the k nearest and writes them; false where a row that
// left the list may be nearer than the k-th, or as near.
bool finish(const Problem& p, int64_t query, const Smallest& list) {
    const Bank& bank = p.bank;
    const float scale = *bank.scale, unscale = 1 / scale, *const q = p.queries + query * bank.c;
    // More than what rounding can take from a sum of squares and its root.
    const float half = 0.5f + (float)(bank.c + 64) / (1 << 23);
    const int padded = (int)round_up(list.count, LANES);
    for (int i = list.count; i < padded; ++i) list.scores[i] = INF;
    // First as many as are wanted, then those that may be nearer than one of them.
    const float least = limit_of(list.scores, padded, std::min(p.wanted(), list.count), 8);
    uint64_t keys[MOST + 1 + SPARE_PAIRED];
    int count = 0;
    float worst = 0;
    const auto measure = [&](float above, float limit) {
        for (int i = 0; i < list.count; ++i) {
            if (!(list.scores[i] > above && list.scores[i] <= limit) || list.rows[i] == p.own(query)) continue;
            // The next row, on its way while this one is measured: each comes from another place.
            const char* next = (const char*)(bank.rows + list.rows[i + 1 < list.count ? i + 1 : i] * bank.c);
            for (int64_t at = 0; at < 4 * bank.c; at += 64) __builtin_prefetch(next + at);
            const float square = squared_distance(q, bank.rows + list.rows[i] * bank.c, bank.c, scale);
            worst = std::max(worst, square);
            keys[count++] = key_of(std::sqrt(square) * unscale, list.rows[i]);
        }
    };
    measure(-INF, least);
    measure(least, worst * half);
    write(p, query, keys, count);
    const float last = squared_distance(q, bank.rows + p.indices[(query + 1) * p.k - 1] * bank.c, bank.c, scale);
    // A distance too small for its bits to count says nothing.
    return last == 0 || (last * half <= list.limit && p.distances[(query + 1) * p.k - 1] > 1e-30f);
}

// Measures all rows for the queries left open; a strip of rows stays in the cache for all of them.
void finish_all(const Problem& p, Open* open, int64_t count) {
    const Bank& bank = p.bank;
    const float scale = *bank.scale;
    const int64_t step = std::max<int64_t>(1, STRIP_BYTES / (4 * bank.c));
    for (int64_t i = 0; i < count; ++i) open[i].list.count = 0, open[i].list.limit = NO_LIMIT;
    for (int64_t first = 0; first < bank.m; first += step)
        for (Open* at = open; at < open + count; ++at) {
            Smallest list = at->list;
            for (int64_t row = first; row < std::min(first + step, bank.m); ++row) {
                if (row == p.own(at->query)) continue;
                const float* const q = p.queries + at->query * bank.c;
                const float size = std::sqrt(squared_distance(q, bank.rows + row * bank.c, bank.c, scale));
                if (size > list.limit) continue;
                if (list.count == p.room()) list = prune(list, (int)p.k);
                list.scores[list.count] = size;
                list.rows[list.count++] = (int32_t)row;
            }
            at->list = list;
        }
    for (Open* at = open; at < open + count; ++at) {
        const Smallest list = prune(at->list, (int)p.k);
        uint64_t keys[MOST];
        for (int i = 0; i < list.count; ++i) keys[i] = key_of(list.scores[i] / scale, list.rows[i]);
        write(p, at->query, keys, list.count);
    }
}

// One list of what the shares from `first` on have collected for a query: in this order their rows ascend.
Smallest merge(const Problem& p, int64_t query, const Share* first, const Share* end) {
    Smallest all = first->list(query);
    for (const Share* share = first + 1; share < end; ++share) {
        const Smallest more = share->list(query);
        for (int i = 0; i < more.count; ++i) {
            if (all.count == p.room()) all = prune(all, p.keep());
            all.scores[all.count] = more.scores[i];
            all.rows[all.count++] = more.rows[i];
        }
        all.limit = std::min(all.limit, more.limit);
    }
    return all;
}

// Measures and writes for the queries of `first` to `last`, whose lists are in the shares from `from` on.
void settle(const Problem& p, int64_t first, int64_t last, const Share* from, const Share* end, Open* open) {
    int64_t count = 0;
    for (int64_t query = first; query < last; ++query) {
        if (!(p.bank.usable() && from->limit(query) > -INF)) {
            finish_odd(p, query);
            continue;
        }
        const Smallest list = prune(merge(p, query, from, end), p.keep());
        if (!finish(p, query, list)) open[count++] = Open{query, list};
    }
    finish_all(p, open, count);
}

// Queries among bank rows: each thread has its own queries.
void search(const Problem& p, Share* shares, int threads) {
    parallel((p.n + TILE_ROWS - 1) / TILE_ROWS, threads, [&](int64_t from, int64_t to, int share) {
        Share& s = shares[share];
        const int64_t end = std::min(p.n, to * TILE_ROWS);
        for (int64_t first = from * TILE_ROWS; first < end; first += BLOCK) {
            const int64_t last = std::min(end, first + BLOCK);
            s.clear(p, first, last);
            if (p.bank.usable()) scan(p, first, last, p.bank.panel_count(), s);
            settle(p, first, last, &s, &s + 1, s.open);
        }
    });
}

// Rows among themselves: each thread has groups that follow each other, as many as make equal work, and collects
// for all rows before and in them; then it settles those in them.
void search_mirrored(const Problem& p, Share* shares, int threads) {
    const int64_t groups = (p.n + GROUP - 1) / GROUP;
    const int parts = gonogo::shares(groups, threads);
    const auto start = [&](int part) { return GROUP * (int64_t)std::round(groups * std::sqrt((double)part / parts)); };
    parallel(parts, parts, [&](int64_t, int64_t, int part) {
        Share& s = shares[part];
        const int64_t end = start(part + 1);
        s.clear(p, 0, end);
        for (int64_t first = start(part); p.bank.usable() && first < end; first += BLOCK) {
            const int64_t last = std::min(end, first + BLOCK);
            scan(p, first, last, std::min(last / PANEL, p.bank.panel_count()), s);
        }
    });
    parallel(parts, parts, [&](int64_t, int64_t, int part) {
        settle(p, start(part), std::min(p.n, start(part + 1)), shares + part, shares + parts, shares[part].open);
    });
}

bool possible(const Problem& p) {
    const int64_t m = p.bank.m;
    return p.n >= 1 && m >= 1 && m < INT32_MAX - 1024 && p.bank.c >= 1 && p.k >= 1 &&
           p.k <= std::min<int64_t>(m, MOST) && (!p.itself || p.n == m) && (!p.bank.paired || has_pairs());
}

int parts(const Problem& p, int threads) {
    return shares((p.n + TILE_ROWS - 1) / TILE_ROWS, threads);
}

}  // namespace
}  // namespace gonogo

using namespace gonogo;

GONOGO_API int64_t gonogo_knn_distance_workspace(int64_t n, int64_t m, int64_t c, int64_t k, int64_t paired,
                                                 int64_t itself, int threads) {
    const Bank bank(nullptr, m, c, paired, nullptr);
    const int64_t excluded = 0;  // lists are as long as with an excluded row
    const Problem p = {bank, nullptr, &excluded, nullptr, nullptr, n, k, itself != 0};
    return possible(p) ? (Share(p, nullptr).size() + (int64_t)sizeof(Share)) * parts(p, threads) : -1;
}

GONOGO_API int64_t gonogo_knn_distance(const float* queries, const float* rows, void* packed, const int64_t* exclude,
                                       float* distances, int64_t* indices, int64_t n, int64_t m, int64_t c,
                                       int64_t k, int64_t paired, int64_t itself, void* scratch, int threads) {
    const Bank bank(rows, m, c, paired, packed);
    const Problem p = {bank, queries, exclude, distances, indices, n, k, itself != 0};
    if (!possible(p)) return 1;
    const int count = parts(p, threads);
    const int64_t size = Share(p, nullptr).size();
    Share* const shares = (Share*)((char*)scratch + count * size);
    for (int i = 0; i < count; ++i) new (shares + i) Share(p, (char*)scratch + i * size);
    (p.mirrored() ? search_mirrored : search)(p, shares, threads);
    return 0;
}
