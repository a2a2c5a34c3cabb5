// Rows packed to be searched, and the packing of what is searched for in them.
//
// |q - b|^2 / 2 = |q|^2 / 2 + |b|^2 / 2 - q.b, about the bank's mean and scaled by a power of two so that nothing
// over- or underflows. What a tile computes is never above that, whatever is rounded on the way: a score is a
// lower bound, and a row whose score is above a distance is further away.
// - Both halves are taken a little too small, by 3 c + 16 units of 2^-23: more than c products, sums and
//   subtractions of the mean can lose, each at most 2^-24 of a partial sum below twice the halves.
// - Channels in bfloat16, q~ and b~, lose |q.b - q~.b~| <= |q - q~| |b| + |q~| |b - b~| (Cauchy, Schwarz). These
//   four norms, rounded up, are one more pair of channels, whose products are subtracted with the others.
#pragma once
#include <algorithm>
#include <cstring>

#include "panels.h"
#include "smallest.h"

namespace gonogo {

struct Bank {
    const float* rows;  // (m, c) as they were given
    int64_t m, c;
    bool paired;  // bfloat16
    // Packed:
    float *scale, *centre;  // the scale is 0 where nothing can be searched, NaN where a row is not finite
    float *starts, *panels;

    // Laid out from an address; `end` is behind it.
    Bank(const float* from, int64_t count, int64_t channels, bool narrow, void* packed)
        : rows(from), m(count), c(channels), paired(narrow) {
        float* at = (float*)packed;
        const auto take = [&](int64_t floats) {
            float* const part = at;
            at += round_up(floats, 16);
            return part;
        };
        scale = take(1), centre = take(c), starts = take(panel_count() * PANEL);
        panels = take(panel_count() * PANEL * words());
        end = at;
    }
    float* end;

    int64_t panel_count() const { return (m + PANEL - 1) / PANEL; }
    int64_t words() const { return paired ? (c + 1) / 2 + 1 : c; }  // floats of one packed row
    bool finite() const { return *scale == *scale; }
    bool usable() const { return *scale > 0; }
    float slack() const { return (float)(3 * c + 16) / (1 << 23); }
};

inline uint32_t bits_of(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}

inline float float_of(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

// The upper half of a float, rounded to the nearest; of a float >= 0, rounded up.
inline uint32_t to_half(uint32_t bits) { return (bits + 0x7fff + (bits >> 16 & 1)) >> 16; }
inline uint32_t to_half_up(float x) { return (bits_of(x) + 0xffff) >> 16; }

// Makes pairs of bfloat16 of `width` packed rows, (c, width), with the pair that bounds what is lost; `sign` is
// that of the rows.
template <int width>
void pack_pairs(const float* wide, int64_t c, const float* squares, float sign, float* packed) {
    float lost[width] = {};
    for (int64_t i = 0; i < c; i += 2) {
        uint32_t pair[width];
        for (int j = 0; j < width; ++j) {
            const float low = wide[i * width + j], high = i + 1 < c ? wide[(i + 1) * width + j] : 0;
            pair[j] = to_half(bits_of(low)) | to_half(bits_of(high)) << 16;
            const float low_lost = low - float_of(pair[j] << 16);
            const float high_lost = high - float_of(pair[j] & 0xffff0000u);
            lost[j] += low_lost * low_lost + high_lost * high_lost;
        }
        std::memcpy(packed + i / 2 * width, pair, sizeof pair);
    }
    const float more = 1 + (float)(c + 8) / (1 << 22);
    for (int j = 0; j < width; ++j) {
        const float error = std::sqrt(lost[j]) * more, norm = std::sqrt(squares[j]) * more + error;
        const uint32_t e = to_half_up(error), n = to_half_up(norm);
        // Row and column take the products crosswise: -e n' - n e'.
        const uint32_t pair = sign < 0 ? (e | n << 16) ^ 0x80008000u : n | e << 16;
        packed[(c + 1) / 2 * width + j] = float_of(pair);
    }
}

// Packs `count` <= width rows as (words, width), with the start of their scores: +inf where there is no row.
// `wide` takes width * c floats.
template <int width>
void pack_rows(const Bank& bank, const float* rows, int64_t count, float sign, float* wide, float* packed,
               float* starts) {
    float* const full = bank.paired ? wide : packed;
    pack<width>(rows, count, bank.c, bank.centre, sign * *bank.scale, full);
    float squares[width] = {};
    for (int64_t i = 0; i < bank.c; ++i)
        for (int j = 0; j < width; ++j) squares[j] += full[i * width + j] * full[i * width + j];
    for (int j = 0; j < width; ++j) starts[j] = j < count ? squares[j] / 2 * (1 - bank.slack()) : INF;
    if (bank.paired) pack_pairs<width>(full, bank.c, squares, sign, packed);
}

// Sets centre and scale from all rows: their mean, and a power of two that brings them to about 1.
void survey(const Bank& bank, double* sums);

// Packs all rows; `scratch` as pack_scratch says.
void pack_bank(const Bank& bank, char* scratch, int threads);
int64_t pack_scratch(int64_t c, int threads);

}  // namespace gonogo
