/* SPDX-License-Identifier: MIT
 * The least there is around a net on a Cortex-M: memory as C wants it, then a self-test, then how much of everything
 * was used, told through semihosting. NET_H is the net's header, SELF_TEST its self-test, IMAGE_BYTES what an image
 * takes that lies in memory. */
#include <stdint.h>

#include NET_H

extern uint32_t data_begin[], data_end[], data_image[], bss_begin[], bss_end[], stack_begin[], stack_end[];
extern char flash_used[];

static const uint32_t UNUSED = 0xdeadbeef;

void reset(void);
int main(void);

/* Arm's semihosting: operation r0 with parameter r1. */
static int host(int operation, const void *parameter)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = parameter;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void leave(int status)
{
    const uint32_t reason[2] = {0x20026, (uint32_t)status}; /* the program ended */
    host(0x20, reason);
    for (;;)
        ;
}

static void fault(void)
{
    host(4, "fault\n");
    leave(99);
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    stack_end,           (const void *)reset, (const void *)fault, (const void *)fault,
    (const void *)fault, (const void *)fault, (const void *)fault};

/* What the compiler makes of copies and clears; there is no C library. */
void *memcpy(void *to, const void *from, unsigned int size);
void *memset(void *to, int value, unsigned int size);

__attribute__((weak)) void *memcpy(void *to, const void *from, unsigned int size)
{
    for (unsigned int i = 0; i < size; i++)
        ((volatile char *)to)[i] = ((const char *)from)[i];
    return to;
}

__attribute__((weak)) void *memset(void *to, int value, unsigned int size)
{
    for (unsigned int i = 0; i < size; i++)
        ((volatile char *)to)[i] = (char)value;
    return to;
}

static void tell(const char *name, unsigned int number)
{
    char text[12];
    int at = 11;
    text[at--] = 0;
    do
        text[at--] = (char)('0' + number % 10);
    while (number /= 10);
    host(4, name);
    host(4, text + at + 1);
}

__attribute__((noinline)) static uint32_t *here(void)
{
    return __builtin_frame_address(0);
}

void reset(void)
{
    const uint32_t *from = data_image;
    for (uint32_t *to = data_begin; to < data_end; to++)
        *to = *from++;
    for (uint32_t *to = bss_begin; to < bss_end; to++)
        *to = 0;
    for (volatile uint32_t *to = stack_begin; to < here() - 8; to++)
        *to = UNUSED;
    leave(main());
}

int main(void)
{
    const int wrong = SELF_TEST();
    const uint32_t *stack = stack_begin;
    while (stack < stack_end && *stack == UNUSED)
        stack++;
    const unsigned int used = (unsigned int)(stack_end - stack) * 4;
    const unsigned int statics = (unsigned int)(bss_end - data_begin) * 4;
    tell("flash ", (unsigned int)(uintptr_t)flash_used);
    tell(" ram ", statics + used + IMAGE_BYTES);
    tell(" static ", statics);
    tell(" stack ", used);
    tell(" image ", IMAGE_BYTES);
    tell(" wrong ", (unsigned int)wrong);
    host(4, "\n");
    return wrong != 0;
}
