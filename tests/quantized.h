/* SPDX-License-Identifier: MIT
 * Nets in integers, for tests. After <cmocka.h>. */
#ifndef EK_TEST_QUANTIZED_H
#define EK_TEST_QUANTIZED_H

#include "evenkeel.h"

/* NULL where the net has no form in integers. */
static inline ek_quantized *quantize(ek_net *net, const ek_dataset *data)
{
    ek_quantized *q;
    const ek_status status = ek_quantize(&q, net, data, &(ek_quantize_options){.threads = 1});
    if (status && status != EK_ERR_UNSUPPORTED)
        fail_msg("%s", ek_error());
    return q;
}

#endif
