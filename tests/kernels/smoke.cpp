// Every native kernel on small random data against its formula in double; for processors without a Python at
// hand. Prints one line per kernel; the exit code is the number of kernels that disagree.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <vector>

typedef int64_t I;
typedef std::vector<float> Floats;

#define KERNEL(name, arguments) extern "C" I gonogo_##name arguments
KERNEL(preprocess, (const uint8_t*, I, I, I, I, I, I, I, const I*, const float*, const I*, const float*, const float*, I,
                    const I*, const float*, const float*, const float*, void*, int, void*, int));
KERNEL(pool_norm, (const float*, float*, float*, float*, I, I, I, void*, int));
KERNEL(distance_rowsum, (const float*, float*, I, I, void*, int));
KERNEL(select_global, (const float*, const float*, I*, float*, I, I, I, void*, int));
KERNEL(neighbour_mean, (const float*, const I*, float*, I, I, I, I, void*, int));
KERNEL(neighbour_regression, (const float*, I, const float*, I, float*, I, I, I, float, float, float, float, void*, int));
KERNEL(knn_bank, (const float*, void*, I, I, I, void*, int));
KERNEL(knn_distance, (const float*, const float*, void*, const I*, float*, I*, I, I, I, I, I, I, void*, int));
KERNEL(distance_map, (const float*, const float*, float*, I, I, int, void*, int));
KERNEL(fill_border, (const float*, float*, I, I, I, I, int, void*, int));
KERNEL(finish_map, (const float* const*, const float* const*, const float* const*, const I*, float*, I, I, I, I, I, int,
                    void*, int));

static int failures = 0;
static const int THREADS = 2;

static void* scratch() {
    static void* memory = std::aligned_alloc(64, 16 << 20);
    return memory;
}

static Floats noise(size_t count) {
    static uint32_t state = 1;
    Floats values(count);
    for (float& value : values) value = 1 + (float)((state = state * 1664525u + 1013904223u) >> 8) / (1 << 24);
    return values;
}

static void report(const char* name, I code, const std::vector<double>& expected, const Floats& found, double near) {
    double worst = code == 0 ? 0 : INFINITY;
    for (size_t i = 0; i < expected.size(); ++i) {
        const double off = std::fabs(found[i] - expected[i]) / (1 + std::fabs(expected[i]));
        worst = off <= worst ? worst : off != off ? INFINITY : off;
    }
    std::printf("%-22s %.1e\n", name, worst);
    failures += !(worst <= near);
}

static double distance(const float* a, const float* b, I c) {
    double total = 0;
    for (I i = 0; i < c; ++i) total += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return std::sqrt(total);
}

// 2 x shrinking with the weights 1/8 3/8 3/8 1/8, 1/7 3/7 3/7 at the ends.
static void preprocess() {
    const I n = 40, m = 20, taps = 4;
    std::vector<uint8_t> image(n * n * 3);
    const Floats values = noise(image.size());
    for (size_t i = 0; i < image.size(); ++i) image[i] = (uint8_t)((values[i] - 1) * 255);
    std::vector<I> first(m), start(m + 1);
    Floats weights(m * taps, 0), own(n), ahead(n), out(3 * m * m);
    std::vector<double> full(m * n, 0), expected(out.size());
    for (I i = 0; i < m; ++i) {
        double total = 0;
        for (I j = 0; j < n; ++j) total += full[i * n + j] = std::max(0.0, 1 - std::fabs(j + 0.5 - 2 * (i + 0.5)) / 2);
        for (I j = 0; j < n; ++j) full[i * n + j] /= total;
        first[i] = std::min(std::max<I>(0, 2 * i - 1), n - taps);
        for (I t = 0; t < taps; ++t) weights[i * taps + t] = (float)full[i * n + first[i] + t];
        start[i] = i == 0 ? 0 : 2 * i + 1;
    }
    start[m] = n;
    for (I i = 0; i < m; ++i)
        for (I j = start[i]; j < start[i + 1]; ++j) {
            own[j] = (float)full[i * n + j];
            ahead[j] = i + 1 < m ? (float)full[(i + 1) * n + j] : 0;
        }
    const float scale[3] = {0.5f, 1, 2}, shift[3] = {1, 2, 3};
    const auto run = [&](void* to, int half) {
        return gonogo_preprocess(image.data(), n * 3, n, n, 3, m, m, taps, first.data(), weights.data(), start.data(),
                                 own.data(), ahead.data(), taps, first.data(), weights.data(), scale, shift, to, half,
                                 scratch(), THREADS);
    };
    for (I c = 0; c < 3; ++c)
        for (I y = 0; y < m; ++y)
            for (I x = 0; x < m; ++x) {
                double total = 0;
                for (I v = 0; v < n; ++v)
                    for (I u = 0; u < n; ++u) total += full[y * n + v] * full[x * n + u] * image[(v * n + u) * 3 + 2 - c];
                expected[(c * m + y) * m + x] = total * scale[c] + shift[c];
            }
    I code = run(out.data(), 0);
    report("preprocess", code, expected, out, 1e-5);
    std::vector<uint16_t> halves(out.size());
    code = run(halves.data(), 1);
    // All lie between 1 and 513: normal halves, without a sign.
    for (size_t i = 0; i < out.size(); ++i)
        out[i] = (float)std::ldexp(1024 + (halves[i] & 1023), (halves[i] >> 10) - 25);
    report("preprocess, f16", code, expected, out, 5e-4);
}

static void features() {
    const I h = 9, w = 11, c = 13, n = h * w;
    const Floats cells = noise(n * c);
    Floats pooled(n * c), norms(n), mean(c), means(n), vector(c);
    std::vector<double> expected(n * c), sums(n, 0), mean_of(c, 0);
    I code = gonogo_pool_norm(cells.data(), pooled.data(), norms.data(), mean.data(), h, w, c, scratch(), THREADS);
    for (I y = 0; y < h; ++y)
        for (I x = 0; x < w; ++x)
            for (I i = 0; i < c; ++i) {
                double total = 0;
                for (I v = std::max<I>(0, y - 1); v < std::min(h, y + 2); ++v)
                    for (I u = std::max<I>(0, x - 1); u < std::min(w, x + 2); ++u) total += cells[(v * w + u) * c + i];
                expected[(y * w + x) * c + i] = total / 9;
            }
    report("pool_norm", code, expected, pooled, 1e-6);

    code = gonogo_distance_rowsum(cells.data(), means.data(), n, c, scratch(), THREADS);
    for (I a = 0; a < n; ++a)
        for (I b = 0; b < n; ++b) sums[a] += distance(&cells[a * c], &cells[b * c], c) / (n - 1);
    report("distance_rowsum", code, sums, means, 1e-6);

    std::vector<I> order(n), chosen(10);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](I a, I b) { return means[a] < means[b]; });
    code = gonogo_select_global(cells.data(), means.data(), chosen.data(), vector.data(), n, c, 10, scratch(), 1);
    code |= !std::equal(chosen.begin(), chosen.end(), order.begin());
    for (I k = 0; k < 10; ++k)
        for (I i = 0; i < c; ++i) mean_of[i] += cells[order[k] * c + i] / 10.0;
    report("select_global", code, mean_of, vector, 1e-6);

    code = gonogo_neighbour_mean(cells.data(), chosen.data(), vector.data(), 1, n, c, 10, scratch(), THREADS);
    report("neighbour_mean", code, mean_of, vector, 1e-6);
}

// Gaussian elimination with pivoting; k is (8, 9), the solution comes back in its last column.
static void solve(double (*k)[9]) {
    for (int j = 0; j < 8; ++j) {
        int pivot = j;
        for (int i = j; i < 8; ++i) pivot = std::fabs(k[i][j]) > std::fabs(k[pivot][j]) ? i : pivot;
        std::swap_ranges(k[j], k[j] + 9, k[pivot]);
        for (int i = 0; i < 8; ++i)
            for (int m = 8; i != j && m >= j; --m) k[i][m] -= k[i][j] / k[j][j] * k[j][m];
    }
    for (int j = 0; j < 8; ++j) k[j][8] /= k[j][j];
}

static void neighbour_regression() {
    const I h = 6, w = 23, c = 29;
    const double own = 0.25, pull = 0.75, ridge = 1e-3;
    const Floats cells = noise(h * w * c), target = noise(c);
    Floats errors((h - 2) * (w - 2));
    std::vector<double> expected;
    const I code = gonogo_neighbour_regression(cells.data(), w * c, target.data(), 0, errors.data(), h, w, c, own, pull,
                                               ridge, 0, scratch(), THREADS);
    for (I y = 1; y < h - 1; ++y)
        for (I x = 1; x < w - 1; ++x) {
            const float *around[8], *cell = &cells[(y * w + x) * c];
            int count = 0;
            for (I v = -1; v < 2; ++v)
                for (I u = -1; u < 2; ++u)
                    if (v || u) around[count++] = cell + (v * w + u) * c;
            double k[8][9] = {}, diagonal = 0, total = 0;
            for (int a = 0; a < 8; ++a)
                for (I i = 0; i < c; ++i) {
                    for (int b = 0; b < 8; ++b) k[a][b] += (double)around[a][i] * around[b][i];
                    k[a][8] += around[a][i] * (own * cell[i] + pull * target[i]);
                }
            for (int a = 0; a < 8; ++a) diagonal += k[a][a] / 8;
            for (int a = 0; a < 8; ++a) k[a][a] += ridge * diagonal;
            solve(k);
            for (I i = 0; i < c; ++i) {
                double rest = cell[i];
                for (int a = 0; a < 8; ++a) rest -= k[a][8] * around[a][i];
                total += rest * rest;
            }
            expected.push_back(std::sqrt(total));
        }
    report("neighbour_regression", code, expected, errors, 1e-4);
}

static void knn_distance() {
    const I n = 31, m = 200, c = 21, k = 5;
    const Floats queries = noise(n * c), bank = noise(m * c);
    Floats distances(n * k);
    std::vector<I> indices(n * k);
    std::vector<double> expected;
    void* const packed = std::aligned_alloc(64, 1 << 20);
    I code = gonogo_knn_bank(bank.data(), packed, m, c, 0, scratch(), THREADS);
    code |= gonogo_knn_distance(queries.data(), bank.data(), packed, nullptr, distances.data(), indices.data(), n, m, c,
                                k, 0, 0, scratch(), THREADS);
    std::free(packed);
    for (I i = 0; i < n; ++i) {
        std::vector<double> all(m);
        for (I j = 0; j < m; ++j) all[j] = distance(&queries[i * c], &bank[j * c], c);
        std::sort(all.begin(), all.end());
        expected.insert(expected.end(), all.begin(), all.begin() + k);
    }
    report("knn_distance", code, expected, distances, 1e-6);
}

static void maps() {
    const I n = 30, c = 19;
    const Floats first = noise(n * c), second = noise(n * c);
    Floats found(n);
    std::vector<double> expected(n);
    I code = gonogo_distance_map(first.data(), second.data(), found.data(), n, c, 1, scratch(), THREADS);
    for (I i = 0; i < n; ++i) expected[i] = distance(&first[i * c], &second[i * c], c);
    report("distance_map", code, expected, found, 1e-6);

    const I h = 5, w = 7, ring = 2, full_h = h + 2 * ring, full_w = w + 2 * ring;
    const Floats errors = noise(h * w);
    Floats grid(full_h * full_w);
    std::vector<double> edge(grid.size());
    code = gonogo_fill_border(errors.data(), grid.data(), h, w, 0, ring, 1, scratch(), 1);
    for (I y = 0; y < full_h; ++y)
        for (I x = 0; x < full_w; ++x) {
            const I v = std::min(std::max<I>(y - ring, 0), h - 1), u = std::min(std::max<I>(x - ring, 0), w - 1);
            edge[y * full_w + x] = errors[v * w + u];
        }
    report("fill_border", code, edge, grid, 0);

    const I height = 18, width = 21, sizes[2] = {full_h, full_w};
    const Floats rows = noise(height * full_h), columns = noise(width * full_w);
    Floats map(height * width);
    std::vector<double> enlarged(map.size(), 0);
    const float *cells = grid.data(), *down = rows.data(), *across = columns.data();
    code = gonogo_finish_map(&cells, &down, &across, sizes, map.data(), 1, full_h, full_w, height, width, 0, scratch(),
                             THREADS);
    for (I y = 0; y < height; ++y)
        for (I x = 0; x < width; ++x)
            for (I v = 0; v < full_h; ++v)
                for (I u = 0; u < full_w; ++u)
                    enlarged[y * width + x] +=
                        (double)rows[y * full_h + v] * columns[x * full_w + u] * grid[v * full_w + u];
    report("finish_map", code, enlarged, map, 1e-5);
}

int main() {
    preprocess();
    features();
    neighbour_regression();
    knn_distance();
    maps();
    return failures;
}
