/* SPDX-License-Identifier: MIT
 * Built-in nets as ONNX and as C, for bench/predict.py to measure:
 *
 *     bench_export NET FOLDER       FOLDER/NET.onnx, any number of images; FOLDER/net.c and net.h */
#include <stdio.h>

#include "evenkeel.h"

static ek_status export_net(const char *name, const char *folder)
{
    char path[4096];
    ek_net *net = ek_net_builtin(name);
    ek_status status = net ? ek_net_init(net, EK_INIT_XAVIER, 0) : EK_ERR_NOT_FOUND;
    if (!status) {
        snprintf(path, sizeof path, "%s/%s.onnx", folder, name);
        status = ek_export_onnx(net, path, NULL);
    }
    if (!status) {
        snprintf(path, sizeof path, "%s/net", folder);
        status = ek_export_c(net, path, NULL);
    }
    ek_net_free(net);
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("usage: bench_export NET FOLDER\n", stderr);
        return 2;
    }
    if (export_net(argv[1], argv[2])) {
        fprintf(stderr, "bench_export: %s\n", ek_error());
        return 1;
    }
    return 0;
}
