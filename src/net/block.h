/* SPDX-License-Identifier: MIT
 * Blocks of a net in the making: their parts begin and end, and must fit together. */
#ifndef EK_NET_BLOCK_H
#define EK_NET_BLOCK_H

#include "net/net.h"

/* Opens the block that is the net's last layer. */
void ek_block_enter(ek_net *net);

/* The next part of block `layer`, whose layers begin at *next: *next goes behind it. Its end: a layer, or the block's
 * input where it is empty. */
int ek_block_part_end(const ek_net *net, int layer, int part, int *next);

/* Adds to readers[layer], for each layer, those that read its output: layers, blocks that end in it or add it. */
void ek_block_count_readers(const ek_net *net, int *readers);

#endif
