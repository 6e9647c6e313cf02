/* SPDX-License-Identifier: MIT
 * evenkeel sweep: a grid of trainings, and what came of it. */
#define _GNU_SOURCE
#include "sweep.h"
#include "describe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Options of `train` that each run gets from the sweep, or that would be the same file for all. */
static const char *const own_names[] = {"--seed",  "--threads", "--out",     "--checkpoint",  "--resume", "--log",
                                        "--chart", "--quiet",   "--verbose", "--tensorboard", "--report", NULL};
/* Options whose values have commas of their own. */
static const char *const whole_names[] = {"--augment", "--milestones", "--normalize", NULL};

enum { OWN_OPTIONS = 16 };

/* What was typed. */
typedef struct request {
    const char *seeds, *seed, *dir, *show, *picture;
    int jobs, threads;
    bool models, json;
    cli_option table[TRAIN_OPTIONS]; /* of `train` */
    const char *text[TRAIN_OPTIONS]; /* the values that its options were given */
    bool flag[TRAIN_OPTIONS];
} request;

static bool among(const char *const *names, const char *name)
{
    for (; *names; names++)
        if (!strcmp(*names, name))
            return true;
    return false;
}

/* Those of a training that a sweep has no use for. */
static int check_words(const cli_command *self, int argc, char **argv)
{
    static const char *const foreign[] = {"--checkpoint", "--resume",      "--log",    "--chart", "--quiet",
                                          "--verbose",    "--tensorboard", "--report", NULL};
    for (int i = 0; i < argc; i++)
        for (const char *const *name = foreign; *name; name++)
            if (!strncmp(argv[i], *name, strlen(*name)) && strchr("=", argv[i][strlen(*name)]))
                return cli_usage(self,
                                 "%s is for one training; each run of a sweep has its log and its checkpoints in a "
                                 "folder of its own in --out DIR, and prints nothing",
                                 *name);
    return CLI_GO;
}

static bool ends_with(const char *text, const char *end)
{
    const size_t length = strlen(text), end_length = strlen(end);
    return length > end_length && !strcmp(text + length - end_length, end);
}

/* ---- Reading --------------------------------------------------------------------------------------------------- */

static int parse(const cli_command *self, request *q, int argc, char **argv)
{
    const cli_option own[OWN_OPTIONS] = {
        {"--out", .letter = 'o', .value = "DIR", .text = &q->dir,
         .help = "the folder of the sweep; going on is the same command again"},
        {"--seeds", .value = "N|A,B,...", .text = &q->seeds,
         .help = "so many seeds, from 0 on, or a list of them (1)"},
        {"--seed", .value = "A,B,...", .text = &q->seed, .help = "the same as a list, also of one"},
        {"--jobs", .value = "N", .integer = &q->jobs, .low = 1, .high = CLI_THREADS_MAX,
         .help = "runs at a time (as many as there are processors for)"},
        {"--threads", .value = "N", .integer = &q->threads, .low = 1, .high = CLI_THREADS_MAX,
         .help = "of each run (1)"},
        {"--models", .flag = &q->models, .help = "keep the trained models"},
        {"--show", .value = "DIR", .text = &q->show, .help = "run nothing; the results so far of the sweep in DIR"},
        {"--json", .flag = &q->json, .help = "print the results as JSON"},
        {"--plot", .value = "FILE", .text = &q->picture, .help = "draw the results as .svg or .png"},
    };
    cli_option options[OWN_OPTIONS + TRAIN_OPTIONS] = {{.name = NULL}};
    int count = 0;
    for (; own[count].name; count++)
        options[count] = own[count];
    for (int i = 0; q->table[i].name; i++) {
        const cli_option *theirs = &q->table[i];
        if (among(own_names, theirs->name) || theirs->values) /* what may be repeated has no list of values */
            continue;
        options[count] = (cli_option){.name = theirs->name,
                                      .value = theirs->value,
                                      .help = theirs->help,
                                      .implied = theirs->implied,
                                      .list = true};
        if (theirs->flag)
            options[count++].flag = &q->flag[i];
        else
            options[count++].text = &q->text[i];
    }
    return cli_parse(self, options, argc, argv);
}

/* --seeds N, a list, or --seed and a list. */
static int add_seeds(cli_sweep *s, const request *q)
{
    const char *text = q->seed ? q->seed : q->seeds ? q->seeds : "1";
    if (q->seed && q->seeds)
        return cli_usage(s->self, "--seed and --seeds say the same; leave one out");
    if (q->seed || strchr(text, ',')) {
        const size_t length = strlen(text);
        char *list = strndup(text, length - (length > 1 && text[length - 1] == ','));
        const int status = list ? cli_sweep_add(s, "--seed", list, false) : cli_fail(s->self, "out of memory");
        free(list);
        return status;
    }
    char *end, list[8 * SWEEP_VALUES];
    const long count = strspn(text, "0123456789") == strlen(text) ? strtol(text, &end, 10) : 0;
    size_t length = 0;
    if (count < 1 || count > SWEEP_VALUES)
        return cli_usage(s->self, "--seeds: '%s' is neither a number from 1 to %d nor a list such as 3,5", text,
                         SWEEP_VALUES);
    for (int i = 0; i < count; i++)
        length += (size_t)snprintf(list + length, sizeof list - length, "%s%d", i ? "," : "", i);
    return cli_sweep_add(s, "--seed", list, false);
}

static int add_axes(cli_sweep *s, const request *q)
{
    int status = CLI_GO;
    for (int i = 0; q->table[i].name && status == CLI_GO; i++) {
        const char *name = q->table[i].name;
        if (q->text[i])
            status = cli_sweep_add(s, name, q->text[i], among(whole_names, name));
        else if (q->flag[i])
            status = cli_sweep_add_flag(s, name);
    }
    return status == CLI_GO ? add_seeds(s, q) : status;
}

/* ---- Checking -------------------------------------------------------------------------------------------------- */

/* The settings hold parts of `*kept`, for free(). */
static int check_run(const cli_sweep *s, int run, cli_settings *set, const char ***kept)
{
    int count;
    const char **words = *kept = cli_sweep_words(s, run, 2, &count);
    if (!words)
        return cli_fail(s->self, "out of memory");
    words[count++] = "--checkpoint=x"; /* as the run gets them */
    words[count++] = "--log=x";
    return cli_train_read(s->self, count - 2, (char **)words + 2, set, NULL);
}

/* The first run that has value `value` of the option; 0 where the option is not given. */
static int first_with(const cli_sweep *s, const char *option, int value)
{
    int run = 0;
    for (int a = 0; a < s->axes; a++)
        run = run * s->axis[a].values + (strcmp(s->axis[a].option, option) ? 0 : value);
    return run;
}

static int values_of(const cli_sweep *s, const char *option)
{
    for (int a = 0; a < s->axes; a++)
        if (!strcmp(s->axis[a].option, option))
            return s->axis[a].values;
    return 1;
}

/* What a net is, on one line. */
static int keep_net(cli_sweep *s, const cli_settings *set)
{
    ek_net *net = cli_net_open(s->self, set->net, NULL);
    if (!net)
        return CLI_FAILED;
    char *text = ek_net_text(net);
    ek_net_free(net);
    for (size_t i = 0; text && text[i]; i++)
        text[i] = (char)(text[i] == '\n' ? ';' : text[i]);
    const int status = text ? cli_sweep_content(s, "--net", set->net, text) : cli_fail(s->self, "%s", ek_error());
    free(text);
    return status;
}

static int keep_data(cli_sweep *s, const cli_settings *set)
{
    ek_dataset *data = NULL;
    ek_dataset_info info;
    const int opened = cli_data_open(s->self, &data, set->data, EK_SPLIT_TRAIN, &set->images);
    if (opened != CLI_GO)
        return opened;
    ek_dataset_get_info(data, &info);
    const int status = cli_sweep_content(s, "--data", set->data, info.digest);
    ek_dataset_free(data);
    return status;
}

/* Weights in a file: 64 bits of its bytes, FNV-1a's, which tell one training's from another's. */
static int keep_weights(cli_sweep *s, const cli_settings *set)
{
    char text[32];
    size_t size;
    uint64_t hash = 0xcbf29ce484222325u;
    if (!strcmp(set->init, "xavier") || !strcmp(set->init, "pytorch") || !strcmp(set->init, "he"))
        return CLI_GO;
    char *bytes = cli_log_read(set->init, SIZE_MAX / 4, &size);
    if (!bytes)
        return cli_fail(s->self, "%s: cannot be read: %s", set->init, strerror(errno));
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001b3u;
    free(bytes);
    snprintf(text, sizeof text, "fnv1a-64:%016jx", (uintmax_t)hash);
    return cli_sweep_content(s, "--init", set->init, text);
}

/* Every run's words as `train` would read them, every net, data set and file of weights opened: what is wrong is told
 * once, before anything runs. */
static int check_grid(cli_sweep *s)
{
    static const struct {
        const char *option;
        int (*keep)(cli_sweep *s, const cli_settings *set);
    } kinds[] = {{"--net", keep_net}, {"--data", keep_data}, {"--init", keep_weights}};
    cli_settings set;
    const char **kept;
    int status = CLI_GO;
    for (int i = 0; i < s->runs && status == CLI_GO; i++) {
        status = check_run(s, i, &set, &kept);
        free(kept);
    }
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (int i = 0; i < values_of(s, kinds[k].option) && status == CLI_GO; i++) {
            status = check_run(s, first_with(s, kinds[k].option, i), &set, &kept);
            if (status == CLI_GO)
                status = kinds[k].keep(s, &set);
            free(kept);
        }
    return status;
}

/* ---- All of it ------------------------------------------------------------------------------------------------- */

static int tell(const cli_sweep *s)
{
    if (s->json)
        cli_sweep_print_json(s);
    else
        cli_sweep_print(s);
    const int status = s->picture ? cli_sweep_draw(s, s->picture) : CLI_GO;
    if (s->picture && !s->json && status == CLI_GO)
        cli_put_saved(s->picture);
    return status;
}

static int show(cli_sweep *s)
{
    int status = cli_sweep_load(s);
    if (status == CLI_GO)
        status = cli_sweep_expand(s);
    for (int i = 0; i < s->runs && status == CLI_GO; i++)
        cli_sweep_read(s, &s->run[i]);
    if (status == CLI_GO)
        status = tell(s);
    return status == CLI_GO ? CLI_DONE : status;
}

static void tell_interrupt(const cli_sweep *s)
{
    int done = 0;
    for (int i = 0; i < s->runs; i++)
        done += s->run[i].result.state == RUN_DONE;
    cli_fail(s->self, "%s: stopped, %d of %d runs done; to go on, give the same command again", cli_interrupt_name(),
             done, s->runs);
}

static int sweep(cli_sweep *s, const request *q)
{
    int status = add_axes(s, q);
    if (status == CLI_GO)
        status = cli_sweep_expand(s); /* without what an older grid says of names: for the checks alone */
    if (status == CLI_GO)
        status = check_grid(s);
    if (status == CLI_GO)
        status = cli_sweep_open(s);
    if (status == CLI_GO)
        status = cli_sweep_join(s);
    if (status == CLI_GO)
        status = cli_sweep_expand(s);
    if (status == CLI_GO)
        status = cli_sweep_save(s);
    if (status != CLI_GO)
        return status;
    const int worked = cli_sweep_work(s);
    if (worked == CLI_GO) {
        tell_interrupt(s);
        return CLI_FAILED;
    }
    status = tell(s);
    return status == CLI_GO ? worked : status;
}

static int check_request(const cli_command *self, request *q)
{
    if (!q->dir && !q->show)
        return cli_usage(self, "--out DIR is missing; 'evenkeel sweep --help' explains");
    if (q->dir && q->show)
        return cli_usage(self, "--show DIR runs nothing; leave out --out");
    for (int i = 0; q->show && q->table[i].name; i++)
        if (q->text[i] || q->flag[i])
            return cli_usage(self, "--show takes everything from its folder; leave out %s", q->table[i].name);
    if (q->picture && !ends_with(q->picture, ".svg") && !ends_with(q->picture, ".png"))
        return cli_usage(self, "--plot: '%s' ends neither with .svg nor with .png; the folder is --out DIR",
                         q->picture);
#ifndef EK_HAVE_CAIRO
    if (q->picture)
        return cli_fail(self, "--plot: this build is without cairo: build with -DEVENKEEL_CAIRO=ON");
#endif
    if (!q->jobs)
        q->jobs = ek_cpu_count() > q->threads ? ek_cpu_count() / q->threads : 1;
    return CLI_GO;
}

static int run(const cli_command *self, request *q, int argc, char **argv)
{
    int status = cli_train_read(self, 0, NULL, NULL, q->table);
    if (status == CLI_GO && cli_is_asked == ASKED_WORK)
        status = check_words(self, argc, argv);
    if (status == CLI_GO)
        status = parse(self, q, argc, argv);
    if (status == CLI_GO)
        status = check_request(self, q);
    if (status != CLI_GO)
        return status;
    cli_sweep s = {.self = self,
                   .dir = q->show ? q->show : q->dir,
                   .jobs = q->jobs,
                   .threads = q->threads,
                   .models = q->models,
                   .json = q->json,
                   .picture = q->picture,
                   .lock = -1};
    status = q->picture ? cli_probe_output(self, q->picture, 1 << 16) : CLI_GO; /* before hours of work */
    if (status == CLI_GO)
        status = q->show ? show(&s) : sweep(&s, q);
    cli_sweep_free(&s);
    if (s.lock >= 0)
        close(s.lock);
    return status;
}

int cli_sweep_command(const cli_command *self, int argc, char **argv)
{
    request *q = calloc(1, sizeof *q);
    if (!q)
        return cli_fail(self, "out of memory");
    q->threads = 1;
    const int status = cli_finish(self, run(self, q, argc, argv));
    free(q);
    cli_interrupt_raise();
    return status;
}
