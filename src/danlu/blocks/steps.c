/* Loops over weights and their gradients: what of a training's step is no pass. See `loops.c`. */

#include "loops.h"

TOLD int form(void) { return FORM; }

/* sum = a + b; returns the sum of its squares. */
TOLD double add_up(const bf16 *a, const bf16 *b, float *sum, int64_t count) {
    double squares = 0;
    for (int64_t i = 0; i < count;) {
        wide own = _mm512_setzero_ps();
        for (int64_t end = i + 4096 < count ? i + 4096 : count; i < end; i += LANES) {
            places m = tail(count - i);
            wide both = _mm512_add_ps(load(a + i, m), load(b + i, m));
            own = _mm512_fmadd_ps(both, both, own);
            _mm512_mask_storeu_ps(sum + i, m, both);
        }
        squares += _mm512_reduce_add_ps(own);
    }
    return squares;
}

/* The numbers of a step of AdamW, the same for all weights of a group. */
typedef struct {
    float shrunk;    /* 1 / what the gradients are divided by */
    float left;      /* 1 - rate * decay */
    float to_mean;   /* 1 - beta1 */
    float kept;      /* beta2 */
    float to_square; /* 1 - beta2 */
    float rate;      /* rate / (1 - beta1^t) */
    float deviation; /* 1 / sqrt(1 - beta2^t) */
    float epsilon;
} numbers;

static inline void move(float *weight, float *mean, float *square, const float *slope, bf16 *narrow, int64_t count,
                        const numbers *by) {
    for (int64_t i = 0; i < count; i += LANES) {
        places m = tail(count - i);
        wide g = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, slope + i), all(by->shrunk));
        wide w = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, weight + i), all(by->left));
        wide a = _mm512_maskz_loadu_ps(m, mean + i), v = _mm512_maskz_loadu_ps(m, square + i);
        a = _mm512_fmadd_ps(_mm512_sub_ps(g, a), all(by->to_mean), a);
        v = _mm512_fmadd_ps(_mm512_mul_ps(g, g), all(by->to_square), _mm512_mul_ps(v, all(by->kept)));
        wide under = _mm512_fmadd_ps(_mm512_sqrt_ps(v), all(by->deviation), all(by->epsilon));
        w = _mm512_sub_ps(w, _mm512_div_ps(_mm512_mul_ps(a, all(by->rate)), under));
        _mm512_mask_storeu_ps(mean + i, m, a);
        _mm512_mask_storeu_ps(square + i, m, v);
        _mm512_mask_storeu_ps(weight + i, m, w);
        if (narrow) store(narrow + i, m, w);
    }
}

/* A step of AdamW; writes the weights in bfloat16 besides, if `narrow` is given. */
TOLD void adamw(float *weight, float *mean, float *square, const float *slope, bf16 *narrow, int64_t count,
                const numbers *by) {
    move(weight, mean, square, slope, narrow, count, by);
}

/* The same of some rows of a table [any, width] and of its gradient; the moments have those rows alone. */
TOLD void adamw_rows(float *table, float *mean, float *square, const float *slope, const int64_t *rows, int64_t count,
                     int64_t width, const numbers *by) {
    for (int64_t k = 0; k < count; k++)
        move(table + rows[k] * width, mean + k * width, square + k * width, slope + rows[k] * width, NULL, width, by);
}
