/* SPDX-License-Identifier: MIT
 * A program of somebody else's: it is given the version it should meet, and normalises two numbers. */
#include <evenkeel.h>

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc != 2 || strcmp(ek_version(), argv[1]) != 0) {
        fprintf(stderr, "the library is %s\n", ek_version());
        return 1;
    }
    float x[2] = {1.0f, 3.0f}, y[2] = {0.0f, 0.0f};
    ek_shape shape = {2, 1, 0, 0, EK_NCHW};
    if (ek_batch_norm_simplified(shape, x, NULL, NULL, 0.0f, y) != EK_OK || y[0] != -1.0f || y[1] != 1.0f) {
        fprintf(stderr, "%s: %g %g\n", ek_error(), (double)y[0], (double)y[1]);
        return 1;
    }
    ek_net *net = ek_net_builtin("bn-lenet");
    if (!net) {
        fprintf(stderr, "%s\n", ek_error());
        return 1;
    }
    ek_net_free(net);
    return 0;
}
