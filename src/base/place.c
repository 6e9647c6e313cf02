/* SPDX-License-Identifier: MIT */
#include "base/place.h"

#include <stdbool.h>
#include <stddef.h>

/* The lowest place for p beside those that have one. */
static int64_t find_place(const ek_piece *pieces, int count, const ek_piece *p, int64_t alignment)
{
    int64_t at = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (int i = 0; i < count; i++) {
            const ek_piece *o = &pieces[i];
            if (o->at < 0 || o->last < p->first || o->first > p->last || o->at + o->size <= at ||
                o->at >= at + p->size)
                continue;
            at = (o->at + o->size + alignment - 1) / alignment * alignment;
            moved = true;
        }
    }
    return at;
}

int64_t ek_place_pieces(ek_piece *pieces, int count, int64_t alignment)
{
    int64_t size = 0;
    for (int i = 0; i < count; i++)
        pieces[i].at = -1;
    for (;;) {
        ek_piece *p = NULL;
        for (int i = 0; i < count; i++)
            if (pieces[i].at < 0 && pieces[i].size > 0 && (!p || pieces[i].size > p->size))
                p = &pieces[i];
        if (!p)
            return size;
        p->at = find_place(pieces, count, p, alignment);
        size = p->at + p->size > size ? p->at + p->size : size;
    }
}
