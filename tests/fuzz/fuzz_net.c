/* SPDX-License-Identifier: MIT
 * Fuzz target: any bytes as a net's text. What is accepted comes back from its own text as the same text, and its
 * shapes stay within the limits. */
#include "base/memory.h"
#include "net/net.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_layers(const ek_net *net)
{
    for (int l = 0; l < ek_net_layer_count(net); l++) {
        ek_layer_info info;
        if (ek_net_layer(net, l, &info) || info.parameters < 0 || info.macs < 0)
            abort();
        int64_t count = ek_dims_count(net->layers[l].out);
        if (count < 1 || count > EK_SAMPLE_MAX)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = ek_calloc(size + 1, 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    ek_net *net = ek_net_parse(text, "input");
    ek_free(text);
    if (!net) {
        if (!*ek_error())
            abort();
        return 0;
    }
    check_layers(net);
    char *written = ek_net_text(net);
    ek_net *twin = ek_net_parse(written, "text");
    char *again = ek_net_text(twin);
    if (!written || !twin || !again || strcmp(written, again))
        abort();
    if (ek_net_float_count(net) < 1 << 20 && net->layer_count > 0 && ek_net_finish(net))
        abort();
    free(written);
    free(again);
    ek_net_free(net);
    ek_net_free(twin);
    return 0;
}
