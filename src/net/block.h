/* SPDX-License-Identifier: MIT
 * Blocks of a net in the making: their parts begin and end, and must fit together. */
#ifndef EK_NET_BLOCK_H
#define EK_NET_BLOCK_H

#include "net/net.h"

/* Opens the block that is the net's last layer. */
void ek_block_enter(ek_net *net);

#endif
