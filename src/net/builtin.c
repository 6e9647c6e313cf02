/* SPDX-License-Identifier: MIT
 * The built-in nets, in the net language. */
#include "net/net.h"

#include <stdio.h>
#include <string.h>

typedef struct builtin {
    const char *name, *description, *text;
} builtin;

/* d2l section 8.5.4, with or without options of its batch norms. */
#define BN_LENET(batchnorm)                                                                                          \
    "input 1 28 28\n"                                                                                                \
    "conv2d 6 kernel=5\n" batchnorm "sigmoid\n"                                                                      \
    "avgpool 2\n"                                                                                                    \
    "conv2d 16 kernel=5\n" batchnorm "sigmoid\n"                                                                     \
    "avgpool 2\n"                                                                                                    \
    "flatten\n"                                                                                                      \
    "linear 120\n" batchnorm "sigmoid\n"                                                                             \
    "linear 84\n" batchnorm "sigmoid\n"                                                                              \
    "linear 10\n"

static const builtin builtins[] = {
    {"lenet", "LeNet-5 with sigmoids, d2l section 7.6",
     "input 1 28 28\n"
     "conv2d 6 kernel=5 padding=2\n"
     "sigmoid\n"
     "avgpool 2\n"
     "conv2d 16 kernel=5\n"
     "sigmoid\n"
     "avgpool 2\n"
     "flatten\n"
     "linear 120\n"
     "sigmoid\n"
     "linear 84\n"
     "sigmoid\n"
     "linear 10\n"},
    {"bn-lenet", "LeNet with batch norm before every sigmoid, d2l section 8.5.5", BN_LENET("batchnorm\n")},
    {"bn-lenet-scratch", "the same with the moving variance of d2l section 8.5.3, the population's",
     BN_LENET("batchnorm moving_variance=population\n")},
};

enum { BUILTINS = sizeof builtins / sizeof builtins[0] };

const char *ek_net_builtin_name(int i)
{
    return i >= 0 && i < BUILTINS ? builtins[i].name : NULL;
}

const char *ek_net_builtin_text(int i)
{
    return i >= 0 && i < BUILTINS ? builtins[i].description : NULL;
}

ek_net *ek_net_builtin(const char *name)
{
    for (int i = 0; name && i < BUILTINS; i++)
        if (!strcmp(name, builtins[i].name))
            return ek_net_parse(builtins[i].text, name);
    char known[200] = "";
    size_t length = 0;
    for (int i = 0; i < BUILTINS; i++)
        length += (size_t)snprintf(known + length, sizeof known - length, "%s%s", i ? ", " : "", builtins[i].name);
    ek_fail(EK_ERR_NOT_FOUND, "no built-in net '%.64s'; there are %s", name ? name : "", known);
    return NULL;
}
