/* SPDX-License-Identifier: MIT
 * One instruction set's table of kernels: each file of kernels fills in its own. */
#include "cpu/dispatch.h"
#include "cpu/kernel/name.h"

#define EK_TEXT_(x) #x
#define EK_TEXT(x) EK_TEXT_(x)

void EK_KERNEL(fill_conv)(ek_blocked_kernels *table);
void EK_KERNEL(fill_conv_weight)(ek_blocked_kernels *table);
void EK_KERNEL(fill_winograd)(ek_blocked_kernels *table);
void EK_KERNEL(fill_winograd_weight)(ek_blocked_kernels *table);
void EK_KERNEL(fill_conv_weight_channels)(ek_blocked_kernels *table);
void EK_KERNEL(fill_unit)(ek_blocked_kernels *table);
void EK_KERNEL(fill_pool)(ek_blocked_kernels *table);
void EK_KERNEL(fill_join)(ek_blocked_kernels *table);
void EK_KERNEL(fill_layer)(ek_blocked_kernels *table);
void EK_KERNEL(fill_dropout)(ek_blocked_kernels *table);
void EK_KERNEL(fill_optimizer)(ek_blocked_kernels *table);
void EK_KERNEL(fill_plain_sums)(ek_plain_kernels *table);
void EK_KERNEL(fill_plain_maps)(ek_plain_kernels *table);
void EK_KERNEL(fill_single_conv)(ek_single_kernels *table);
void EK_KERNEL(fill_single_columns)(ek_single_kernels *table);
void EK_KERNEL(fill_single_winograd)(ek_single_kernels *table);
void EK_KERNEL(fill_single_layer)(ek_single_kernels *table);
void EK_KERNEL(fill_kernels)(ek_kernels *table);

void EK_KERNEL(fill_kernels)(ek_kernels *table)
{
    table->name = EK_TEXT(EK_ISA);
    EK_KERNEL(fill_conv)(&table->blocked);
    EK_KERNEL(fill_conv_weight)(&table->blocked);
    EK_KERNEL(fill_winograd)(&table->blocked);
    EK_KERNEL(fill_winograd_weight)(&table->blocked);
    EK_KERNEL(fill_conv_weight_channels)(&table->blocked);
    EK_KERNEL(fill_unit)(&table->blocked);
    EK_KERNEL(fill_pool)(&table->blocked);
    EK_KERNEL(fill_join)(&table->blocked);
    EK_KERNEL(fill_layer)(&table->blocked);
    EK_KERNEL(fill_dropout)(&table->blocked);
    EK_KERNEL(fill_optimizer)(&table->blocked);
    EK_KERNEL(fill_plain_sums)(&table->plain);
    EK_KERNEL(fill_plain_maps)(&table->plain);
    EK_KERNEL(fill_single_conv)(&table->single);
    EK_KERNEL(fill_single_columns)(&table->single);
    EK_KERNEL(fill_single_winograd)(&table->single);
    EK_KERNEL(fill_single_layer)(&table->single);
}
