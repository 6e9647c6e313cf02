/* SPDX-License-Identifier: MIT
 * Where values live. Every block of samples (in prediction: every thread) has a region of the arena, laid out alike;
 * values share it as they come and go. A block's steps run one after the other, and what reads other blocks' values
 * (sums of gradients) stands between barriers, so a room is free for the steps behind its last reader. */
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

/* ---- Gaps ---- */

/* The array with room for one more, or NULL. */
static ek_room *grown(ek_room *rooms, int count, int *capacity)
{
    if (count < *capacity)
        return rooms;
    const int larger = *capacity ? 2 * *capacity : 32;
    ek_room *more = ek_realloc(rooms, (size_t)larger, sizeof *more);
    if (more)
        *capacity = larger;
    return more;
}

static void remove_gap(ek_plan *plan, int i)
{
    plan->gap_count--;
    for (; i < plan->gap_count; i++)
        plan->gaps[i] = plan->gaps[i + 1];
}

/* Takes the smallest gap that fits, the first of them; else the region grows. */
static size_t take(ek_plan *plan, size_t size)
{
    int best = -1;
    for (int i = 0; i < plan->gap_count; i++)
        if (plan->gaps[i].size >= size && (best < 0 || plan->gaps[i].size < plan->gaps[best].size))
            best = i;
    if (best >= 0) {
        ek_room *gap = &plan->gaps[best];
        const size_t offset = gap->offset;
        gap->offset += size;
        gap->size -= size;
        if (gap->size == 0)
            remove_gap(plan, best);
        return offset;
    }
    ek_room *last = plan->gap_count ? &plan->gaps[plan->gap_count - 1] : NULL;
    if (last && last->offset + last->size == plan->region) { /* the region's end is free, and not enough */
        const size_t offset = last->offset;
        plan->region = ek_size_add(offset, size);
        plan->gap_count--;
        return offset;
    }
    const size_t offset = plan->region;
    plan->region = ek_size_add(offset, size);
    return offset;
}

static void give_back(ek_plan *plan, size_t offset, size_t size)
{
    int i = 0;
    while (i < plan->gap_count && plan->gaps[i].offset < offset)
        i++;
    ek_room *before = i > 0 ? &plan->gaps[i - 1] : NULL, *behind = i < plan->gap_count ? &plan->gaps[i] : NULL;
    if (before && before->offset + before->size == offset) {
        before->size += size;
        if (behind && before->offset + before->size == behind->offset) {
            before->size += behind->size;
            remove_gap(plan, i);
        }
        return;
    }
    if (behind && offset + size == behind->offset) {
        behind->offset = offset;
        behind->size += size;
        return;
    }
    ek_room *gaps = grown(plan->gaps, plan->gap_count, &plan->gap_capacity);
    if (!gaps) {
        plan->failed = true;
        return;
    }
    plan->gaps = gaps;
    for (int j = plan->gap_count++; j > i; j--)
        gaps[j] = gaps[j - 1];
    gaps[i] = (ek_room){.offset = offset, .size = size};
}

/* ---- Rooms ---- */

ek_value ek_plan_floats(ek_plan *plan, size_t floats)
{
    ek_room *rooms = grown(plan->rooms, plan->room_count, &plan->room_capacity);
    if (!rooms) {
        plan->failed = true;
        return nowhere;
    }
    plan->rooms = rooms;
    const size_t size = whole_lines(floats);
    rooms[plan->room_count] = (ek_room){.offset = take(plan, size), .size = size, .holders = 1};
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
    if (value.room < 0)
        return;
    ek_room *room = &plan->rooms[value.room];
    if (--room->holders == 0)
        give_back(plan, room->offset, room->size);
}

bool ek_plan_alone(const ek_plan *plan, ek_value value)
{
    return value.room >= 0 && plan->rooms[value.room].holders == 1;
}

ek_buffer ek_plan_buffer(const ek_plan *plan, ek_value value)
{
    if (value.room < 0)
        return (ek_buffer){0, 0};
    const ek_room *room = &plan->rooms[value.room];
    return (ek_buffer){room->offset + value.shift, room->size - value.shift};
}

void ek_plan_used(ek_plan *plan, int s)
{
    ek_stage *stage = &plan->stages[s];
    if (--stage->uses == 0)
        ek_plan_drop(plan, stage->y);
}

bool ek_plan_last(const ek_plan *plan, int s)
{
    return plan->stages[s].uses == 1 && ek_plan_alone(plan, plan->stages[s].y);
}
