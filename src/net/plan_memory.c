/* SPDX-License-Identifier: MIT
 * Where values live. Every block of samples has a region of the arena, and so has every slot in which a block is at
 * hand; values share them as they come and go. A block's steps run one after the other, and what reads other blocks'
 * values (sums of gradients) stands between barriers, so a room is free for the steps behind its last reader. A room
 * that one phase alone touches lies in the slot's region, where the next block finds it in the cache; the others lie
 * in the block's. */
#include "net/plan.h"

#include "base/memory.h"

static const ek_value nowhere = {-1, 0};

static size_t whole_lines(size_t floats)
{
    return ek_size_mul(ek_size_add(floats, EK_LANES - 1) / EK_LANES, EK_LANES);
}

size_t ek_plan_fixed(ek_plan *plan, size_t floats)
{
    const size_t offset = plan->program->arena_size;
    plan->program->arena_size = ek_size_add(offset, whole_lines(floats));
    return offset;
}

void ek_plan_scratch(ek_plan *plan, size_t floats)
{
    if (whole_lines(floats) > plan->program->scratch_stride)
        plan->program->scratch_stride = whole_lines(floats);
}

/* An array of `size` bytes an element with room for one more than `count`, or NULL, the old one being as it was. */
static void *grown(void *array, int count, int *capacity, size_t size)
{
    if (count < *capacity)
        return array;
    const int larger = *capacity ? 2 * *capacity : 32;
    void *more = ek_realloc(array, (size_t)larger, size);
    if (more)
        *capacity = larger;
    return more;
}

/* ---- Rooms ---- */

static void add_turn(ek_plan *plan, int turn)
{
    int *turns = grown(plan->turns, plan->turn_count, &plan->turn_capacity, sizeof *turns);
    plan->failed = plan->failed || !turns;
    if (!turns)
        return;
    plan->turns = turns;
    turns[plan->turn_count++] = turn;
}

ek_value ek_plan_floats(ek_plan *plan, size_t floats)
{
    ek_room *rooms = grown(plan->rooms, plan->room_count, &plan->room_capacity, sizeof *rooms);
    plan->failed = plan->failed || !rooms;
    if (!rooms)
        return nowhere;
    plan->rooms = rooms;
    rooms[plan->room_count] = (ek_room){.size = whole_lines(floats), .holders = 1};
    add_turn(plan, plan->room_count);
    return (ek_value){plan->room_count++, 0};
}

ek_value ek_plan_values(ek_plan *plan, int64_t values)
{
    return ek_plan_floats(plan, ek_size_mul((size_t)values, EK_LANES));
}

void ek_plan_hold(ek_plan *plan, ek_value value)
{
    if (value.room >= 0)
        plan->rooms[value.room].holders++;
}

void ek_plan_drop(ek_plan *plan, ek_value value)
{
    if (value.room >= 0 && --plan->rooms[value.room].holders == 0)
        add_turn(plan, ~value.room);
}

void ek_plan_leave(ek_plan *plan, ek_value *value)
{
    ek_plan_drop(plan, *value);
    *value = nowhere;
}

bool ek_plan_alone(const ek_plan *plan, ek_value value)
{
    return value.room >= 0 && plan->rooms[value.room].holders == 1;
}

ek_buffer ek_plan_buffer(ek_plan *plan, ek_value value)
{
    if (value.room < 0)
        return (ek_buffer){0};
    ek_room *room = &plan->rooms[value.room];
    room->crosses = room->crosses || (room->phase && room->phase != plan->phase);
    room->phase = plan->phase;
    return (ek_buffer){value.room, value.shift, room->size - value.shift};
}

void ek_plan_used(ek_plan *plan, int s)
{
    ek_stage *stage = &plan->stages[s];
    if (--stage->uses == 0)
        ek_plan_leave(plan, &stage->y);
}

bool ek_plan_last(const ek_plan *plan, int s)
{
    return plan->stages[s].uses == 1 && ek_plan_alone(plan, plan->stages[s].y);
}

/* ---- Regions ---- */

/* A region as it is laid out: its size so far, and its free pieces, by offset; none touch. */
typedef struct piece {
    size_t offset, size;
} piece;

typedef struct region {
    size_t size;
    piece *gaps;
    int gap_count, gap_capacity;
} region;

static void remove_gap(region *r, int i)
{
    r->gap_count--;
    for (; i < r->gap_count; i++)
        r->gaps[i] = r->gaps[i + 1];
}

/* Takes the smallest gap that fits, the first of them; else the region grows. */
static size_t take(region *r, size_t size)
{
    int best = -1;
    for (int i = 0; i < r->gap_count; i++)
        if (r->gaps[i].size >= size && (best < 0 || r->gaps[i].size < r->gaps[best].size))
            best = i;
    if (best >= 0) {
        piece *gap = &r->gaps[best];
        const size_t offset = gap->offset;
        gap->offset += size;
        gap->size -= size;
        if (gap->size == 0)
            remove_gap(r, best);
        return offset;
    }
    const piece *last = r->gap_count ? &r->gaps[r->gap_count - 1] : NULL;
    size_t offset = r->size;
    if (last && last->offset + last->size == r->size) { /* the region's end is free, and not enough */
        offset = last->offset;
        r->gap_count--;
    }
    r->size = ek_size_add(offset, size);
    return offset;
}

static ek_status give_back(region *r, size_t offset, size_t size)
{
    int i = 0;
    while (i < r->gap_count && r->gaps[i].offset < offset)
        i++;
    piece *before = i > 0 ? &r->gaps[i - 1] : NULL, *behind = i < r->gap_count ? &r->gaps[i] : NULL;
    if (before && before->offset + before->size == offset) {
        before->size += size;
        if (behind && before->offset + before->size == behind->offset) {
            before->size += behind->size;
            remove_gap(r, i);
        }
        return EK_OK;
    }
    if (behind && offset + size == behind->offset) {
        behind->offset = offset;
        behind->size += size;
        return EK_OK;
    }
    piece *gaps = grown(r->gaps, r->gap_count, &r->gap_capacity, sizeof *gaps);
    if (!gaps)
        return EK_ERR_MEMORY;
    r->gaps = gaps;
    for (int j = r->gap_count++; j > i; j--)
        gaps[j] = gaps[j - 1];
    gaps[i] = (piece){offset, size};
    return EK_OK;
}

/* Gives every room its place, taking turns in both kinds of region as the steps do. */
static ek_status place_rooms(ek_plan *plan, region *blocks, region *slots)
{
    ek_place *places = plan->program->places;
    for (int i = 0; i < plan->turn_count; i++) {
        const int turn = plan->turns[i], n = turn < 0 ? ~turn : turn;
        const ek_room *room = &plan->rooms[n];
        region *r = room->crosses ? blocks : slots;
        if (turn < 0)
            EK_TRY(give_back(r, places[n].offset, room->size));
        else
            places[n] = (ek_place){!room->crosses, take(r, room->size)};
    }
    return EK_OK;
}

/* An odd number of lines, so that the same place in several regions is not the same set of the cache. */
static size_t stride_of(const region *r)
{
    return r->size / EK_LANES % 2 || r->size == 0 ? r->size : ek_size_add(r->size, EK_LANES);
}

/* Scratch and regions lie behind what is fixed. */
ek_status ek_plan_lay_out(ek_plan *plan)
{
    ek_program *p = plan->program;
    region blocks = {0}, slots = {0};
    p->places = ek_calloc((size_t)plan->room_count, sizeof *p->places);
    const ek_status status = p->places ? place_rooms(plan, &blocks, &slots) : EK_ERR_MEMORY;
    ek_free(blocks.gaps);
    ek_free(slots.gaps);
    EK_TRY(status);
    const size_t count = (size_t)((p->max_samples + EK_LANES - 1) / EK_LANES);
    p->local_stride = stride_of(&slots);
    p->region_stride = stride_of(&blocks);
    p->scratch_at = p->arena_size;
    p->local_at = ek_size_add(p->scratch_at, ek_size_mul(p->scratch_stride, (size_t)plan->request->threads));
    p->region_at = ek_size_add(p->local_at, ek_size_mul(p->local_stride, (size_t)p->slots));
    p->arena_size = ek_size_add(p->region_at, ek_size_mul(p->region_stride, count));
    return EK_OK;
}
