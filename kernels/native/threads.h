// Loops shared by several threads. With one thread none is started.
#pragma once
#include <cstdint>
#include <system_error>
#include <thread>

namespace gonogo {

constexpr int MAX_THREADS = 64;

// How many threads a loop over `count` items uses when it may use `threads`.
inline int shares(int64_t count, int threads) {
    const int64_t most = count < MAX_THREADS ? count : MAX_THREADS;
    return threads < most ? threads : (most < 1 ? 1 : (int)most);
}

// Calls body(first, last, share) on `shares(count, threads)` equal pieces of 0..count, one thread each, and
// waits for all. Which items fall to which share depends on count and threads alone.
template <class Body>
void parallel(int64_t count, int threads, const Body& body) {
    const int parts = shares(count, threads);
    auto piece = [&](int i) { body(count * i / parts, count * (i + 1) / parts, i); };
    std::thread workers[MAX_THREADS];
    int started = 1;
    try {
        for (; started < parts; ++started) workers[started] = std::thread(piece, started);
    } catch (const std::system_error&) {
        // The machine gives no more threads: this one does what is left.
    }
    piece(0);
    for (int i = started; i < parts; ++i) piece(i);
    for (int i = 1; i < started; ++i) workers[i].join();
}

}  // namespace gonogo
