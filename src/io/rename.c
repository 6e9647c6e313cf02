/* SPDX-License-Identifier: MIT */
#include "io/rename.h"

#include "base/memory.h"
#include "base/text.h"

#include <string.h>

enum {
    STARS_MAX = 8,
    NAME_MAX_BYTES = 4096 /* of a name that is renamed: matching takes at most its length times the rule's */
};

/* A text between stars, or what a star stood for. */
typedef struct span {
    const char *text;
    size_t length;
} span;

typedef struct rule {
    span from[STARS_MAX + 1], to[STARS_MAX + 1];
    int from_stars, to_stars;
} rule;

/* ---- Rules --------------------------------------------------------------------------------------------------- */

/* As much of it as a message bears. */
static int shown(span text)
{
    return text.length < 200 ? (int)text.length : 200;
}

/* Splits at the stars; how many there are, STARS_MAX + 1 for more than there may be. */
static int split(span side, span parts[STARS_MAX + 1])
{
    int stars = 0;
    const char *end = side.text + side.length;
    for (const char *at = side.text;; stars++) {
        const char *star = memchr(at, '*', (size_t)(end - at));
        if (stars > STARS_MAX)
            return stars;
        parts[stars] = (span){at, (size_t)((star ? star : end) - at)};
        if (!star)
            return stars;
        at = star + 1;
    }
}

/* What stands before the '='. */
static ek_status read_pattern(span text, rule *r)
{
    r->from_stars = split(text, r->from);
    if (r->from_stars > STARS_MAX)
        return ek_fail(EK_ERR_ARGUMENT, "'%.*s' has more than %d stars", shown(text), text.text, STARS_MAX);
    for (int i = 1; i < r->from_stars; i++)
        if (r->from[i].length == 0)
            return ek_fail(EK_ERR_ARGUMENT, "'%.*s' has two stars without a text between them", shown(text),
                           text.text);
    return EK_OK;
}

static ek_status read_rule(const char *text, rule *r)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text)
        return ek_fail(EK_ERR_ARGUMENT, "'%.200s' is no rule to rename tensors; write FROM=TO, as in module.=", text);
    EK_TRY(read_pattern((span){text, (size_t)(equals - text)}, r));
    r->to_stars = split((span){equals + 1, strlen(equals + 1)}, r->to);
    if (r->to_stars > r->from_stars)
        return ek_fail(EK_ERR_ARGUMENT, "the rule '%.200s' has more stars behind '=' than before it", text);
    return EK_OK;
}

/* ---- One name ------------------------------------------------------------------------------------------------ */

static bool stands_at(const char *name, span text)
{
    return strncmp(name, text.text, text.length) == 0;
}

/* Whether a match may end before `rest`: names are matched part by part. */
static bool is_boundary(const rule *r, const char *rest)
{
    const span *last = &r->from[r->from_stars];
    return !*rest || *rest == '.' || (last->length > 0 && last->text[last->length - 1] == '.');
}

/* What the stars stand for, each as little as can be from left to right; where the rest of the name begins, NULL where
 * the rule does not fit. The first place of each text will do: what fits behind a later one fits behind it, too. */
static const char *match(const rule *r, const char *name, span stars[STARS_MAX])
{
    if (!stands_at(name, r->from[0]))
        return NULL;
    const char *at = name + r->from[0].length;
    for (int i = 1; i <= r->from_stars; i++) {
        const span text = r->from[i];
        const char *begin = at;
        do {
            if (!*at)
                return NULL;
            at++;
        } while (!stands_at(at, text) || (i == r->from_stars && !is_boundary(r, at + text.length)));
        stars[i - 1] = (span){begin, (size_t)(at - begin)};
        at += text.length;
    }
    return is_boundary(r, at) ? at : NULL;
}

static ek_status apply(char **renamed, const rule *r, const char *text, const char *name)
{
    span stars[STARS_MAX];
    ek_text made = {0};
    *renamed = NULL;
    if (strlen(name) > NAME_MAX_BYTES)
        return ek_fail(EK_ERR_FORMAT, "tensor '%.60s...' has a name of more than %d bytes", name, NAME_MAX_BYTES);
    const char *rest = match(r, name, stars);
    if (!rest)
        return EK_OK;
    for (int i = 0; i <= r->to_stars; i++) {
        ek_text_put(&made, r->to[i].text, r->to[i].length);
        if (i < r->to_stars)
            ek_text_put(&made, stars[i].text, stars[i].length);
    }
    if (made.length == 0 && *rest == '.') /* a part that goes takes its point with it */
        rest++;
    ek_text_say(&made, rest);
    *renamed = ek_text_end(&made);
    if (!*renamed)
        return EK_ERR_MEMORY;
    if (**renamed)
        return EK_OK;
    ek_free(*renamed);
    *renamed = NULL;
    return ek_fail(EK_ERR_ARGUMENT, "the rule '%.200s' leaves nothing of the name '%.200s'", text, name);
}

ek_status ek_rename(char **renamed, const char *text, const char *name)
{
    rule r;
    *renamed = NULL;
    EK_TRY(read_rule(text, &r));
    return apply(renamed, &r, text, name);
}

ek_status ek_name_fits(bool *fits, const char *pattern, const char *name)
{
    rule r;
    span stars[STARS_MAX];
    EK_TRY(read_pattern((span){pattern, strlen(pattern)}, &r));
    *fits = strlen(name) <= NAME_MAX_BYTES && match(&r, name, stars);
    return EK_OK;
}

/* ---- A file -------------------------------------------------------------------------------------------------- */

/* One rule on all names, which it replaces. */
static ek_status apply_to_all(ek_safetensors *file, const char *path, const char *text)
{
    rule r;
    bool fits = false;
    EK_TRY(read_rule(text, &r));
    for (size_t i = 0; i < file->tensor_count; i++) {
        char *renamed;
        EK_TRY(apply(&renamed, &r, text, file->tensors[i].name));
        if (!renamed)
            continue;
        fits = true;
        ek_free(file->renamed[i]);
        file->tensors[i].name = file->renamed[i] = renamed;
    }
    const char *example = "";
    for (size_t i = file->tensor_count; i-- > 0;) { /* the first weight, or whatever is first */
        const size_t length = strlen(file->tensors[i].name);
        const bool is_weight = length >= 6 && !strcmp(file->tensors[i].name + length - 6, "weight");
        if (is_weight || (i == 0 && !*example))
            example = file->tensors[i].name;
    }
    return fits ? EK_OK
                : ek_fail(EK_ERR_ARGUMENT, "%s: the rule '%.200s' fits no tensor%s%.200s%s", path, text,
                          file->tensor_count ? "; one is called '" : "", example, file->tensor_count ? "'" : "");
}

ek_status ek_safetensors_rename(ek_safetensors *file, const char *path, const char *const *rules, int count)
{
    if (count == 0)
        return EK_OK;
    file->renamed = ek_calloc(file->tensor_count, sizeof *file->renamed);
    file->was = ek_calloc(file->tensor_count, sizeof *file->was);
    if (!file->renamed || !file->was)
        return EK_ERR_MEMORY;
    for (size_t i = 0; i < file->tensor_count; i++)
        file->was[i] = file->tensors[i].name;
    for (int i = 0; i < count; i++)
        EK_TRY(apply_to_all(file, path, rules[i]));
    const ek_safetensors_tensor *twice = ek_safetensors_sort(file);
    if (!twice)
        return EK_OK;
    const char *first = NULL, *second = NULL;
    for (size_t i = 0; i < file->tensor_count; i++)
        if (strcmp(file->tensors[i].name, twice->name) == 0) {
            first = first ? first : file->was[i];
            second = file->was[i];
        }
    return ek_fail(EK_ERR_ARGUMENT, "%s: the rules make '%.200s' of two tensors, '%.200s' and '%.200s'", path,
                   twice->name, first, second);
}
