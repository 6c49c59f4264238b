/* Loops over bfloat16 tensors that torch does as several operations, each a turn through memory.

   For processors with AVX-512 (x86-64-v4). Vectors hold 16 numbers in float32; a tail is masked. No function keeps
   anything, and none has more memory than a scratch of its own, so any number of threads may call them at once.
   `blocks/compiled.py` calls them and checks what they are given. */

#include "loops.h"

/* e^x to 2e-7: 2^n times the polynomial of Cephes' expf (Moshier, 1989). */
static inline wide expo(wide x) {
    wide n = _mm512_roundscale_ps(_mm512_mul_ps(x, all(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    wide r = _mm512_fnmadd_ps(n, all(0.693359375f), x), p = all(1.9875691500e-4f);
    r = _mm512_fmadd_ps(n, all(2.12194440e-4f), r);
    p = _mm512_fmadd_ps(p, r, all(1.3981999507e-3f));
    p = _mm512_fmadd_ps(p, r, all(8.3334519073e-3f));
    p = _mm512_fmadd_ps(p, r, all(4.1665795894e-2f));
    p = _mm512_fmadd_ps(p, r, all(1.6666665459e-1f));
    p = _mm512_fmadd_ps(p, r, all(5.0000001201e-1f));
    p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), _mm512_add_ps(r, all(1.f)));
    return _mm512_scalef_ps(p, n);
}

/* The normal distribution and its density at x, to 2e-7 (Abramowitz & Stegun, 7.1.26). */
static inline wide normal(wide x, wide *density) {
    wide size = _mm512_mul_ps(_mm512_abs_ps(x), all(0.70710678f));
    wide under = _mm512_fmadd_ps(size, all(0.3275911f), all(1.f)), t = _mm512_rcp14_ps(under);
    t = _mm512_mul_ps(t, _mm512_fnmadd_ps(under, t, all(2.f))); /* 1 / under: a step of Newton's from 14 bits */
    wide e = expo(_mm512_mul_ps(_mm512_mul_ps(size, size), all(-1.f))), y = all(1.061405429f);
    y = _mm512_fmadd_ps(y, t, all(-1.453152027f));
    y = _mm512_fmadd_ps(y, t, all(1.421413741f));
    y = _mm512_fmadd_ps(y, t, all(-0.284496736f));
    y = _mm512_fmadd_ps(y, t, all(0.254829592f));
    y = _mm512_mul_ps(_mm512_mul_ps(y, t), _mm512_mul_ps(e, all(.5f)));
    *density = _mm512_mul_ps(e, all(0.39894228f));
    return _mm512_mask_sub_ps(y, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ), all(1.f), y);
}

/* Which of the places `from`, `from` + 1, ... are kept: those whose 32 random bits are below `bound`, of 2^32. The bits
   are a function of a place and two keys, mixed with the multipliers of Wellons' lowbias32. */
static inline places kept(uint32_t from, uint64_t bound, uint32_t first, uint32_t second) {
    if (bound >> 32) return 0xffff;
    __m512i x = _mm512_add_epi32(_mm512_set1_epi32((int)from),
                                 _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
    x = _mm512_add_epi32(_mm512_mullo_epi32(x, _mm512_set1_epi32((int)0x9e3779b1u)), _mm512_set1_epi32((int)first));
    x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 16));
    x = _mm512_mullo_epi32(x, _mm512_set1_epi32(0x7feb352d));
    x = _mm512_add_epi32(_mm512_xor_si512(x, _mm512_srli_epi32(x, 15)), _mm512_set1_epi32((int)second));
    x = _mm512_mullo_epi32(x, _mm512_set1_epi32((int)0x846ca68bu));
    x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 16));
    return _mm512_cmplt_epu32_mask(x, _mm512_set1_epi32((int)(uint32_t)bound));
}

/* ---- GELU ---------------------------------------------------------------------------------------------------- */

/* y = GELU(x + bias), of x [rows, size] and bias [size] */
TOLD void gelu_forward(const bf16 *x, const bf16 *bias, bf16 *y, int64_t rows, int64_t size) {
    for (int64_t r = 0; r < rows; r++, x += size, y += size)
        for (int64_t i = 0; i < size; i += LANES) {
            places m = tail(size - i);
            wide own = _mm512_add_ps(load(x + i, m), load(bias + i, m)), density;
            store(y + i, m, _mm512_mul_ps(own, normal(own, &density)));
        }
}

/* `slope` of y becomes that of x; its sum over the rows, which is that of bias, is added to `sums` [size]. */
TOLD void gelu_backward(const bf16 *x, const bf16 *bias, bf16 *slope, float *sums, int64_t rows, int64_t size) {
    for (int64_t r = 0; r < rows; r++, x += size, slope += size)
        for (int64_t i = 0; i < size; i += LANES) {
            places m = tail(size - i);
            wide own = _mm512_add_ps(load(x + i, m), load(bias + i, m)), density, below = normal(own, &density);
            wide d = _mm512_mul_ps(load(slope + i, m), _mm512_fmadd_ps(own, density, below));
            add_to(sums + i, m, d);
            store(slope + i, m, d);
        }
}

/* ---- dropout, residual sum, LayerNorm ------------------------------------------------------------------------ */

/* y = even * weight + bias, where `even` [rows, size] is `before` + (x + added) with dropout, less its mean, times
   `inverse` [rows], one over its deviation. Returns 0, or 1 without memory. */
TOLD int norm_forward(const bf16 *x, const bf16 *added, const bf16 *before, bf16 *y, bf16 *even, float *inverse,
                      const float *weight, const float *bias, int64_t rows, int64_t size, float epsilon, uint64_t bound, float scale,
                      uint32_t first, uint32_t second) {
    float *row = malloc((size_t)size * sizeof(float));
    if (!row) return 1;
    for (int64_t r = 0; r < rows; r++, x += size, before += size, y += size, even += size) {
        wide total = _mm512_setzero_ps(), squares = total;
        for (int64_t i = 0; i < size; i += LANES) {
            places m = tail(size - i), k = kept((uint32_t)(r * size + i), bound, first, second);
            wide own = load(before + i, m), said = _mm512_add_ps(load(x + i, m), load(added + i, m));
            own = _mm512_mask_add_ps(own, k, own, _mm512_mul_ps(said, all(scale)));
            _mm512_mask_storeu_ps(row + i, m, own);
            total = _mm512_add_ps(total, own);
        }
        wide mean = all(_mm512_reduce_add_ps(total) / (float)size);
        for (int64_t i = 0; i < size; i += LANES) {
            places m = tail(size - i);
            wide off = _mm512_maskz_sub_ps(m, _mm512_maskz_loadu_ps(m, row + i), mean);
            squares = _mm512_fmadd_ps(off, off, squares);
        }
        wide deviation = _mm512_sqrt_ps(all(_mm512_reduce_add_ps(squares) / (float)size + epsilon));
        wide each = _mm512_div_ps(all(1.f), deviation);
        inverse[r] = _mm512_cvtss_f32(each);
        for (int64_t i = 0; i < size; i += LANES) {
            places m = tail(size - i);
            wide own = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(m, row + i), mean), each);
            store(even + i, m, own);
            store(y + i, m, _mm512_fmadd_ps(own, _mm512_maskz_loadu_ps(m, weight + i), _mm512_maskz_loadu_ps(m, bias + i)));
        }
    }
    free(row);
    return 0;
}

static inline wide both_of(const bf16 *one, const bf16 *more, int64_t at, places m) {
    return more ? _mm512_add_ps(load(one + at, m), load(more + at, m)) : load(one + at, m);
}

/* From the slope of y, or the sum of two, those of `before` and x. Added up over the rows: those of weight and bias, and
   that of x in `sums` [size], which is the slope of what is added to x. */
TOLD void norm_backward(const bf16 *slope, const bf16 *more, const bf16 *even, const float *inverse, const float *weight, bf16 *of_before,
                        bf16 *of_x, float *of_weight, float *of_bias, float *sums, int64_t rows, int64_t size,
                        uint64_t bound, float scale, uint32_t first, uint32_t second) {
    for (int64_t r = 0; r < rows; r++, even += size, of_before += size, of_x += size) {
        wide total = _mm512_setzero_ps(), along = total, each = all(inverse[r]);
        for (int64_t i = 0; i < size; i += LANES) {
            places m = tail(size - i);
            wide g = both_of(slope, more, r * size + i, m), n = load(even + i, m);
            wide both = _mm512_mul_ps(g, _mm512_maskz_loadu_ps(m, weight + i));
            total = _mm512_add_ps(total, both);
            along = _mm512_fmadd_ps(both, n, along);
            add_to(of_weight + i, m, _mm512_mul_ps(g, n));
            add_to(of_bias + i, m, g);
        }
        wide mean = all(_mm512_reduce_add_ps(total) / (float)size);
        along = all(_mm512_reduce_add_ps(along) / (float)size);
        for (int64_t i = 0; i < size; i += LANES) {
            places m = tail(size - i), k = kept((uint32_t)(r * size + i), bound, first, second);
            wide d = _mm512_mul_ps(both_of(slope, more, r * size + i, m), _mm512_maskz_loadu_ps(m, weight + i));
            d = _mm512_mul_ps(_mm512_fnmadd_ps(load(even + i, m), along, _mm512_sub_ps(d, mean)), each);
            store(of_before + i, m, d);
            d = _mm512_maskz_mul_ps(k, d, all(scale));
            store(of_x + i, m, d);
            add_to(sums + i, m, d);
        }
    }
}

/* ---- attention of short texts -------------------------------------------------------------------------------- */

#define LINE(i) sum##i##0 = _mm512_fmadd_ps(left, all(a[(i) * down_a]), sum##i##0)
#define PAIR(i) LINE(i), sum##i##1 = _mm512_fmadd_ps(right, all(a[(i) * down_a]), sum##i##1)
#define LAND(i) _mm512_storeu_ps(c + (i) * ldc, sum##i##0)
#define LAND_PAIR(i) LAND(i), _mm512_storeu_ps(c + (i) * ldc + LANES, sum##i##1)

/* Four rows of c by 32 columns, or by 16; all sums stay in registers. */
static inline void four(const float *a, int64_t down_a, int64_t along_a, const float *b, int64_t ldb, float *c,
                        int64_t ldc, int64_t depth, int pair) {
    wide sum00 = _mm512_setzero_ps(), sum10 = sum00, sum20 = sum00, sum30 = sum00;
    if (pair) {
        wide sum01 = sum00, sum11 = sum00, sum21 = sum00, sum31 = sum00;
        for (int64_t k = 0; k < depth; k++, a += along_a, b += ldb) {
            wide left = _mm512_loadu_ps(b), right = _mm512_loadu_ps(b + LANES);
            PAIR(0), PAIR(1), PAIR(2), PAIR(3);
        }
        LAND_PAIR(0), LAND_PAIR(1), LAND_PAIR(2), LAND_PAIR(3);
    } else {
        for (int64_t k = 0; k < depth; k++, a += along_a, b += ldb) {
            wide left = _mm512_loadu_ps(b);
            LINE(0), LINE(1), LINE(2), LINE(3);
        }
        LAND(0), LAND(1), LAND(2), LAND(3);
    }
}

/* c [rows, columns] = a [rows, depth] · b [depth, columns]. `a` is read at strides; rows of a and c are there up to the
   next multiple of four, `columns` is a multiple of 16. */
static void product(const float *a, int64_t down_a, int64_t along_a, const float *b, int64_t ldb, float *c, int64_t ldc,
                    int64_t rows, int64_t columns, int64_t depth) {
    for (int64_t j = 0; j < columns; j += 2 * LANES)
        for (int64_t i = 0; i < rows; i += 4)
            four(a + i * down_a, down_a, along_a, b + j, ldb, c + i * ldc + j, ldc, depth, columns - j > LANES);
}

static inline int64_t filled(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

/* Sixteen numbers of a row with what is added to each row, if anything is. */
static inline wide with(const bf16 *from, const bf16 *added, int64_t d) {
    return added ? _mm512_add_ps(load(from + d, 0xffff), load(added + d, 0xffff)) : load(from + d, 0xffff);
}

/* to [rows, size] = (the rows + added) times `by`; `size` is a multiple of 16 here and below */
static void take(const bf16 *from, const bf16 *added, int64_t stride, float *to, int64_t rows, int64_t size, float by) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t d = 0; d < size; d += LANES)
            _mm512_storeu_ps(to + i * size + d, _mm512_mul_ps(with(from + i * stride, added, d), all(by)));
}

/* to [size, room] = the rows + added, turned; places behind the last are left */
static void turned(const bf16 *from, const bf16 *added, int64_t stride, float *to, int64_t rows, int64_t size,
                   int64_t room) {
    __m512i down = _mm512_mullo_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                                      _mm512_set1_epi32((int)room));
    for (int64_t i = 0; i < rows; i++)
        for (int64_t d = 0; d < size; d += LANES)
            _mm512_i32scatter_ps(to + d * room + i, down, with(from + i * stride, added, d), 4);
}

/* to = the rows [rows, size] in bfloat16; adds their sum to `sums` [size], if that is wanted. */
static void give(const float *from, bf16 *to, int64_t stride, float *sums, int64_t rows, int64_t size) {
    for (int64_t d = 0; d < size; d += LANES) {
        wide total = _mm512_setzero_ps();
        for (int64_t i = 0; i < rows; i++) {
            wide own = _mm512_loadu_ps(from + i * size + d);
            total = _mm512_add_ps(total, own);
            store(to + i * stride + d, 0xffff, own);
        }
        if (sums) add_to(sums + d, 0xffff, total);
    }
}

/* The softmax of `count` scores with the mask added, 0 up to the next multiple of 16. */
static void softmax(float *row, const float *mask, int64_t count) {
    wide least = all(-__builtin_inff()), most = least, total = _mm512_setzero_ps();
    for (int64_t j = 0; j < count; j += LANES) {
        places m = tail(count - j);
        wide own = _mm512_loadu_ps(row + j);
        if (mask) own = _mm512_add_ps(own, _mm512_maskz_loadu_ps(m, mask + j));
        own = _mm512_mask_mov_ps(least, m, own);
        _mm512_storeu_ps(row + j, own);
        most = _mm512_max_ps(most, own);
    }
    most = all(_mm512_reduce_max_ps(most));
    for (int64_t j = 0; j < count; j += LANES) {
        wide own = _mm512_maskz_mov_ps(tail(count - j), expo(_mm512_sub_ps(_mm512_loadu_ps(row + j), most)));
        _mm512_storeu_ps(row + j, own);
        total = _mm512_add_ps(total, own);
    }
    wide each = all(1.f / _mm512_reduce_add_ps(total));
    for (int64_t j = 0; j < count; j += LANES)
        _mm512_storeu_ps(row + j, _mm512_mul_ps(_mm512_loadu_ps(row + j), each));
}

static int64_t longest(const int64_t *lengths, int64_t texts) {
    int64_t most = 0;
    for (int64_t t = 0; t < texts; t++) most = lengths[t] > most ? lengths[t] : most;
    return most;
}

/* Every text attends to itself. `joined` [tokens, 3 * heads * size] + `bias` has queries, keys and values side by side;
   text t is its rows from starts[t] on, lengths[t] of them. `mask`, if any, is added to the scores: text t's begins at
   t * mask_text, a query's mask_row further each. `mixed` is [tokens, heads * size]. Of every share, the bfloat16 is
   kept in `shares`, negative where it was dropped: a text has heads * length rows of its length up to the next multiple
   of 16. Returns 0, or 1 without memory. */
TOLD int attend_forward(const bf16 *joined, const bf16 *bias, const int64_t *starts, const int64_t *lengths,
                        int64_t texts, int64_t heads, int64_t size, const float *mask, int64_t mask_text, int64_t mask_row, float scaling,
                        bf16 *mixed, bf16 *shares, uint64_t bound, float scale, uint32_t first, uint32_t second) {
    int64_t width = heads * size, held = filled(longest(lengths, texts));
    float *scratch = calloc((size_t)(held * (4 * size + held)), sizeof(float));
    if (!scratch) return 1;
    float *q = scratch, *k = q + held * size, *v = k + held * size, *o = v + held * size, *s = o + held * size;
    uint32_t place = 0;
    for (int64_t t = 0; t < texts; t++) {
        int64_t n = lengths[t], room = filled(n);
        for (int64_t h = 0; h < heads; h++) {
            const bf16 *own = joined + starts[t] * 3 * width + h * size, *added = bias + h * size;
            take(own, added, 3 * width, q, n, size, scaling);
            turned(own + width, added + width, 3 * width, k, n, size, room);
            take(own + 2 * width, added + 2 * width, 3 * width, v, n, size, 1.f);
            product(q, size, 1, k, room, s, room, n, room, size);
            for (int64_t i = 0; i < n; i++) {
                float *row = s + i * room;
                softmax(row, mask ? mask + t * mask_text + i * mask_row : NULL, n);
                for (int64_t j = 0; j < room; j += LANES, place += LANES, shares += LANES) {
                    places keep = kept(place, bound, first, second);
                    wide share = _mm512_loadu_ps(row + j);
                    __m256i bits = narrowed(share);
                    bits = _mm256_mask_mov_epi16(_mm256_or_si256(bits, _mm256_set1_epi16((short)0x8000)), keep, bits);
                    _mm256_storeu_si256((__m256i *)shares, bits);
                    _mm512_storeu_ps(row + j, _mm512_maskz_mul_ps(keep, share, all(scale)));
                }
            }
            product(s, room, 1, v, size, o, size, n, size, n);
            give(o, mixed + starts[t] * width + h * size, width, NULL, n, size);
        }
    }
    free(scratch);
    return 0;
}

/* From the slope of `mixed` that of `joined`, whose sum over tokens is added to `sums` [3 * heads * size]. Returns 0, or
   1 without memory. */
TOLD int attend_backward(const bf16 *slope, const bf16 *joined, const bf16 *bias, const int64_t *starts,
                         const int64_t *lengths, int64_t texts, int64_t heads, int64_t size, float scaling, const bf16 *shares, bf16 *of_joined,
                         float *sums, float scale) {
    int64_t width = heads * size, held = filled(longest(lengths, texts));
    float *scratch = calloc((size_t)(held * (5 * size + 2 * held)), sizeof(float));
    if (!scratch) return 1;
    float *q = scratch, *k = q + held * size, *g = k + held * size, *o = g + held * size, *v = o + held * size;
    float *p = v + held * size, *d = p + held * held;
    const wide magnitude = _mm512_castsi512_ps(_mm512_set1_epi32(0x7fffffff));
    for (int64_t t = 0; t < texts; t++) {
        int64_t n = lengths[t], room = filled(n);
        for (int64_t h = 0; h < heads; h++) {
            const bf16 *own = joined + starts[t] * 3 * width + h * size, *added = bias + h * size;
            bf16 *of_own = of_joined + starts[t] * 3 * width + h * size;
            take(own, added, 3 * width, q, n, size, scaling);
            take(own + width, added + width, 3 * width, k, n, size, scaling);
            turned(own + 2 * width, added + 2 * width, 3 * width, v, n, size, room);
            take(slope + starts[t] * width + h * size, NULL, width, g, n, size, 1.f);
            product(g, size, 1, v, room, d, room, n, room, size);
            for (int64_t i = 0; i < n; i++, shares += room) {
                float *both = p + i * room, *row = d + i * room;
                wide along = _mm512_setzero_ps();
                for (int64_t j = 0; j < room; j += LANES) {
                    wide told = load(shares + j, 0xffff), share = _mm512_and_ps(told, magnitude);
                    places keep = (places)~_mm512_movepi32_mask(_mm512_castps_si512(told)) & tail(n - j);
                    wide by = _mm512_maskz_mov_ps(keep, all(scale));
                    wide own_slope = _mm512_maskz_mul_ps(keep, _mm512_loadu_ps(row + j), by);
                    _mm512_storeu_ps(row + j, own_slope);
                    _mm512_storeu_ps(both + j, _mm512_mul_ps(share, by));
                    along = _mm512_fmadd_ps(share, own_slope, along);
                }
                wide off = all(_mm512_reduce_add_ps(along));
                for (int64_t j = 0; j < room; j += LANES) {
                    wide share = _mm512_and_ps(load(shares + j, 0xffff), magnitude);
                    _mm512_storeu_ps(row + j, _mm512_mul_ps(share, _mm512_sub_ps(_mm512_loadu_ps(row + j), off)));
                }
            }
            product(d, room, 1, k, size, o, size, n, size, n);
            give(o, of_own, 3 * width, sums + h * size, n, size);
            product(d, 1, room, q, size, o, size, n, size, n);
            give(o, of_own + width, 3 * width, sums + width + h * size, n, size);
            product(p, 1, room, g, size, o, size, n, size, n);
            give(o, of_own + 2 * width, 3 * width, sums + 2 * width + h * size, n, size);
        }
    }
    free(scratch);
    return 0;
}
