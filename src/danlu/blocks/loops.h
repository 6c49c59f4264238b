/* What the loops have in common: vectors of 16 numbers, read from and written to bfloat16. */

#pragma once

#include <immintrin.h>
#include <stdint.h>
#include <stdlib.h>

#ifdef _WIN32
#define TOLD __declspec(dllexport)
#else
#define TOLD __attribute__((visibility("default")))
#endif
#define LANES 16
#define FORM 1 /* what the functions are given; `LOOPS_FORM` in core/machine.py is the same number */

typedef uint16_t bf16;
typedef __m512 wide;
typedef __mmask16 places;

static inline places tail(int64_t left) { return left >= LANES ? 0xffff : (places)((1u << left) - 1); }
static inline wide all(float x) { return _mm512_set1_ps(x); }

static inline wide load(const bf16 *p, places m) {
    __m512i bits = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
}

/* To the nearest, ties to even. A NaN stays one: those of arithmetic have no low bits that could carry over. */
static inline __m256i narrowed(wide x) {
    __m512i bits = _mm512_castps_si512(x), odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    bits = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16));
}

static inline void store(bf16 *p, places m, wide x) { _mm256_mask_storeu_epi16(p, m, narrowed(x)); }

static inline void add_to(float *p, places m, wide x) {
    _mm512_mask_storeu_ps(p, m, _mm512_add_ps(_mm512_maskz_loadu_ps(m, p), x));
}
