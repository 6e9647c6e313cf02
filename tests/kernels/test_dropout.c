/* SPDX-License-Identifier: MIT
 * Dropout on blocks against the reference, exactly and on every instruction set: its numbers are integers but for one
 * product. */
#include "check.h"
#include "op/dropout.h"

static ek_dropout_key random_key(int live)
{
    ek_dropout_key key = {.seed = random_bits(), .epoch = (uint32_t)random_bits()};
    for (int i = 0; i < LANES; i++)
        key.samples[i] = i < live ? (uint32_t)random_bits() >> 1 : key.samples[0];
    return key;
}

static void check_dropout(float p, int size, int live)
{
    check_case("dropout of %g, %d values, %d live", (double)p, size, live);
    const ek_dropout d = {.p = p, .layer = random_int(0, 99999)};
    const ek_dropout_key key = random_key(live);
    const size_t all = (size_t)size * LANES, bytes = all * sizeof(float);
    const outputs y = new_outputs(all, sizeof(float));
    float *x = random_block((size_t)size, live, 0, 3, 0), *want = floats(all);
    for (size_t i = 0; i < all; i++) {
        if ((int)(i % LANES) >= live)
            x[i] = x[i - i % LANES]; /* dead lanes repeat the first */
        const uint32_t sample = key.samples[i % LANES];
        want[i] = x[i] * (float)ek_reference_dropout(&d, key.seed, key.epoch, sample, (int64_t)(i / LANES));
    }
    for (int i = 0; i < set_count; i++) {
        const ek_blocked_kernels *kernel = &sets[i]->blocked;
        kernel->dropout(&d, &key, 0, size, x, y.of[i]);
        compare_bits(sets[i]->name, "y", bytes, y.of[i], want);
        /* In place, and in two pieces, the second one first. */
        float *place = memcpy(floats(all), x, bytes);
        const int middle = size / 2 / 4 * 4;
        kernel->dropout(&d, &key, middle, size, place, place);
        compare_bits(sets[i]->name, "what is not its piece's", (size_t)middle * LANES * sizeof(float), place, x);
        kernel->dropout(&d, &key, 0, middle, place, place);
        compare_bits(sets[i]->name, "y in the place of x", bytes, place, want);
        /* Gradients: dead lanes stay 0. */
        float *dy = random_block((size_t)size, live, 0, 1, 0), *dx = floats(all);
        kernel->dropout(&d, &key, 0, size, dy, dx);
        check_dead(sets[i]->name, "dx", (size_t)size, live, dx, true);
        for (size_t j = 0; j < all; j++)
            if ((dx[j] == 0) != (dy[j] == 0 || want[j] == 0))
                check_fail("%s: value %zu is dropped in one direction alone", sets[i]->name, j);
    }
    check_sets_agree("y", y);
    check_margins();
}

/* PyTorch multiplies: what is dropped of an infinity is NaN, and NaN stays. */
static void check_special(void)
{
    check_group("dropout of infinities and NaN");
    check_case("special");
    const ek_dropout d = {.p = 0.5f, .layer = 3};
    const ek_dropout_key key = {.seed = 1, .epoch = 2};
    float *x = floats(64 * LANES), *y = floats(64 * LANES);
    for (size_t i = 0; i < (size_t)64 * LANES; i++)
        x[i] = i / LANES % 2 ? NAN : INFINITY;
    for (int i = 0; i < set_count; i++) {
        int infinite = 0;
        sets[i]->blocked.dropout(&d, &key, 0, 64, x, y);
        for (size_t j = 0; j < (size_t)64 * LANES; j++) {
            const bool dropped = ek_reference_dropout(&d, 1, 2, 0, (int64_t)(j / LANES)) == 0;
            if (isnan(x[j]) || dropped ? !isnan(y[j]) : !isinf(y[j]))
                check_fail("%s: %g becomes %g", sets[i]->name, (double)x[j], (double)y[j]);
            infinite += isinf(y[j]) != 0;
        }
        if (infinite == 0)
            check_fail("%s: nothing was kept", sets[i]->name);
    }
    check_margins();
    check_group_end();
}

int main(void)
{
    static const float rates[] = {0, 1e-10f, 0.1f, 0.5f, 0.75f, 0x1.fffffep-1f, 1};
    find_sets();
    random_state = 13;
    check_checker();
    check_group("dropout against the reference");
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++)
        for (int live = 1; live <= 16; live++)
            check_dropout(rates[i], random_int(1, 45), live);
    check_dropout(0.5f, 3072, 16);
    check_group_end();
    check_special();
    return check.groups_failed ? 1 : 0;
}
