/* SPDX-License-Identifier: MIT
 * What a net's images are normalised with: its notes "input.mean" and "input.std", decimals with blanks between. */
#ifndef EK_NET_NORMALIZE_H
#define EK_NET_NORMALIZE_H

#include "net/net.h"
#include "op/input.h"

/* A net's normalisation with a number for each channel of its input; *normal is NULL where it has none. Every byte of
 * the notes, which come from files, is checked: EK_ERR_FORMAT. For ek_normal_free, which accepts NULL. */
ek_status ek_normal_new(ek_normal **normal, const ek_net *net);
void ek_normal_free(ek_normal *normal);

#endif
