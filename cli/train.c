/* SPDX-License-Identifier: MIT
 * evenkeel train: a net, a data set, and a line per epoch. */
#define _POSIX_C_SOURCE 200809L
#include "train.h"

#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- Before --------------------------------------------------------------------------------------------------- */

/* The net that --net names: before the data are opened of its own shape, so that what is wrong with it is told at once;
 * then for the images and classes at hand, with what it starts from. */
static int open_net(cli_training *t, const ek_dataset_info *data)
{
    ek_net_free(t->net);
    t->net = cli_net_open(t->self, t->set->net, data);
    return t->net ? CLI_GO : CLI_FAILED;
}

/* The words that --init knows, by ek_init; what is none of them is a file. */
static const char *const init_words[] = {"xavier", "pytorch", "he"};

static int init_of(const char *word)
{
    int how = EK_INIT_HE;
    while (how >= 0 && strcmp(word, init_words[how]) != 0)
        how--;
    return how;
}

static int start_net(cli_training *t)
{
    const cli_settings *set = t->set;
    const int how = init_of(set->init);
    t->given_weights = how < 0;
    if (ek_net_init(t->net, how < 0 ? EK_INIT_XAVIER : (ek_init)how, set->seed)) /* what --leave leaves starts so */
        return cli_fail(t->self, "%s", ek_error());
    return how < 0 ? cli_weights_load(t->self, t->net, &set->weights) : CLI_GO;
}

static int open_data(cli_training *t)
{
    const cli_settings *set = t->set;
    int status = cli_data_open(t->self, &t->train, set->data, EK_SPLIT_TRAIN, &set->images);
    if (status == CLI_GO && set->val_split > 0) {
        ek_dataset *whole = t->train;
        if (ek_dataset_split(whole, set->val_split, set->seed, &t->train, &t->val))
            status = cli_fail(t->self, "%s", ek_error());
        ek_dataset_free(whole);
    } else if (status == CLI_GO) {
        cli_data_options images = set->images;
        images.may_lack = true;
        status = cli_data_open(t->self, &t->val, set->data, EK_SPLIT_TEST, &images);
        if (status == CLI_GO && !t->val)
            status = cli_fail(
                t->self, "%s; or add --val-split 0.1, which validates on a tenth of the training images", ek_error());
    }
    if (status != CLI_GO)
        return status;
    ek_dataset_get_info(t->train, &t->train_info);
    ek_dataset_get_info(t->val, &t->val_info);
    const int opened = open_net(t, &t->train_info);
    const int started = opened == CLI_GO ? start_net(t) : opened;
    return started == CLI_GO ? cli_normalize(t->self, t->set->normalize, t->train, t->net) : started;
}

/* So that a wrong --out is told before the training, not after. */
static int probe_out(const cli_training *t)
{
    return cli_probe_output(t->self, t->set->out, cli_net_file_size(t->net));
}

static void print_verbose(const cli_training *t)
{
    char *text = ek_net_text(t->net);
    printf("instruction set %s; %d threads of %d processors\n", ek_cpu() ? ek_cpu() : "?", t->set->threads,
           ek_cpu_count());
    fputs("data in ", stdout);
    cli_put_text(t->train_info.path);
    printf("\ntraining data %s\nvalidation data %s\n", t->train_info.digest, t->val_info.digest);
    printf("batch size %d, learning rate %g, seed %ju, %s\n", t->set->batch_size, t->set->recipe.lr,
           (uintmax_t)t->set->seed, t->set->no_shuffle ? "file order" : "shuffled");
    if (text)
        fputs(text, stdout);
    free(text);
}

static void print_beginning(const cli_training *t)
{
    const cli_settings *set = t->set;
    if (set->quiet)
        return;
    if (set->verbose)
        print_verbose(t);
    cli_put_text(set->net);
    printf(", %jd parameters, on ", (intmax_t)cli_net_parameters(t->net));
    cli_put_text(cli_data_name(t->train, set->data));
    printf(": %jd images, %jd for validation; %d thread%s", (intmax_t)t->train_info.count,
           (intmax_t)t->val_info.count, set->threads, set->threads == 1 ? "" : "s");
    cli_recipe_print_decay(&set->recipe);
    puts(set->out ? "" : "; the model will not be kept (no --out)");
    cli_recipe_print(&set->recipe);
}

static void print_head(const cli_training *t)
{
    if (!t->set->quiet)
        printf("epoch  train loss  train acc  val loss  val acc  seconds  images/s\n");
}

/* What the trainer refuses, it refuses before its first event, so that the table's head stands above a table. */
static int on_event(void *user, const ek_fit_event *event)
{
    cli_training *t = user;
    if (!t->begun && event->kind != EK_EVENT_BROKEN) {
        t->begun = true;
        print_beginning(t);
        if (event->kind != EK_EVENT_RESUME)
            print_head(t);
        t->output_failed = !cli_flush();
    }
    const bool stop = cli_watch_event(t, event);
    if (event->kind == EK_EVENT_RESUME) { /* below what it goes on from */
        print_head(t);
        t->output_failed = !cli_flush();
    }
    return stop;
}

/* ---- After ---------------------------------------------------------------------------------------------------- */

static ek_status note(ek_net *net, const char *key, const char *format, ...) CLI_PRINTF(3, 4);
static ek_status note(ek_net *net, const char *key, const char *format, ...)
{
    char value[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(value, sizeof value, format, arguments);
    va_end(arguments);
    return ek_net_set_note(net, key, value);
}

/* With as many digits as it takes to read the same number. */
static ek_status note_real(ek_net *net, const char *key, double value)
{
    char text[32];
    int digits = 6;
    do
        snprintf(text, sizeof text, "%.*g", digits, value);
    while (strtod(text, NULL) != value && digits++ < 17);
    return ek_net_set_note(net, key, text);
}

/* The classes in words, one a line. */
static ek_status note_labels(ek_net *net, const ek_dataset *dataset, int classes)
{
    char *value = NULL;
    size_t size;
    FILE *text = open_memstream(&value, &size);
    for (int i = 0; text && i < classes; i++)
        fprintf(text, "%s%s", i ? "\n" : "", ek_dataset_label_text(dataset, i));
    const bool written = text && fclose(text) == 0;
    const ek_status status = written ? ek_net_set_note(net, "labels", value) : EK_ERR_MEMORY;
    free(value);
    return status;
}

/* What a reader of the model file should know about it: its data, its recipe, how far it came. */
static ek_status note_all(const cli_training *t)
{
    const cli_settings *set = t->set;
    const ek_fit_event *last = &t->last;
    ek_net *net = t->net;
    ek_status status = note(net, "data.name", "%s", t->train_info.name);
    status = status ? status : note(net, "data.digest", "%s", t->train_info.digest);
    status = status ? status : note_labels(net, t->train, t->train_info.classes);
    status = status ? status : note(net, "train.version", "evenkeel %s", ek_version());
    status = status ? status : note(net, "train.samples", "%jd", (intmax_t)t->train_info.count);
    status = status ? status : note(net, "train.start", "%s", t->given_weights ? "given weights" : set->init);
    status = status ? status : note(net, "train.epochs", "%d", set->epochs);
    status = status ? status : note(net, "train.batch_size", "%d", set->batch_size);
    if (!status && set->ghost) /* without it the model does not depend on micro-batches */
        status = note(net, "train.ghost", "%d", set->micro_batch);
    status = status ? status : cli_recipe_note(&set->recipe, net);
    status = status ? status : note(net, "train.seed", "%ju", (uintmax_t)set->seed);
    status = status ? status : note(net, "train.order", "%s", set->no_shuffle ? "file" : "shuffled");
    status = status ? status : note(net, "train.augment", "%s", set->augment_text ? set->augment_text : "none");
    if (!status && set->images.resize)
        status = note(net, "data.resize", "%s", set->images.resize);
    if (!status && set->images.colour)
        status = note(net, "data.colour", "%s", set->images.colour);
    if (!status && set->images.coarse)
        status = note(net, "data.coarse", "yes");
    if (!status && set->val_split > 0)
        status = note_real(net, "data.val_split", set->val_split);
    if (!status && set->patience)
        status = note(net, "train.patience", "%d", set->patience);
    if (!status && t->skipped)
        status = note(net, "train.skipped", "%jd", (intmax_t)t->skipped);
    if (!status && set->keep_best)
        status = note(net, "train.best_epoch", "%d", last->epoch);
    if (last->epoch == 0) /* stopped before its end */
        return status;
    status = status ? status : note(net, "train.loss", "%.9g", last->loss);
    status = status ? status : note(net, "train.accuracy", "%.9g", last->accuracy);
    status = status ? status : note(net, "val.loss", "%.9g", last->val_loss);
    return status ? status : note(net, "val.accuracy", "%.9g", last->val_accuracy);
}

static int save(cli_training *t)
{
    if (!t->set->out)
        return CLI_DONE;
    cli_signals_hold();
    cli_exact_note(t);
    ek_status status = note_all(t);
    if (!status)
        status = ek_net_save(t->net, t->set->out);
    cli_signals_release();
    cli_watch_release(t);
    char folder[CLI_QUOTED];
    if (status && t->kept)
        return cli_fail(t->self, "%s; all of the training is in %s, from which --resume %s saves it", ek_error(),
                        t->kept, cli_quote(cli_checkpoints(t->set), folder));
    if (status)
        return cli_fail(t->self, "%s", ek_error());
    if (!t->set->quiet)
        cli_put_saved(t->set->out);
    return CLI_DONE;
}

/* The page tells the model's notes, which a net that is not saved has not got yet. */
static int write_report(cli_training *t, bool done, const char *message)
{
    if (t->set->report && (!done || !t->set->out))
        (void)note_all(t);
    return cli_report_write(t, done, message);
}

/* ---- All of it ------------------------------------------------------------------------------------------------ */

/* What an interrupt leaves, and how to go on. The newest checkpoint may lag behind, where a later one failed. */
static void tell_interrupt(const cli_training *t, char *message, size_t size)
{
    char folder[CLI_QUOTED];
    const int length = snprintf(message, size, "%s: %s; ", cli_interrupt_name(), ek_error());
    message += length < (int)size ? length : (int)size - 1;
    size -= length < (int)size ? (size_t)length : size - 1;
    if (t->kept)
        snprintf(message, size, "to go on, give the same options and --resume %s",
                 cli_quote(cli_checkpoints(t->set), folder));
    else if (t->not_kept)
        snprintf(message, size, "nothing of it is kept: no checkpoint could be written: %s", t->not_kept);
    else
        snprintf(message, size, "nothing of it is kept%s",
                 cli_checkpoints(t->set) ? ", since not one step was done" : ", which --checkpoint DIR would do");
}

/* Says, saves and writes down how it ended. A training that stopped did so because a signal came, or because standard
 * output broke, which cli_finish reports. */
static int finish(cli_training *t, ek_status trained)
{
    int status = CLI_FAILED;
    const char *reason = "failed";
    char message[1024] = "";
    cli_watch_end(t);
    if (trained)
        cli_watch_release(t);
    else
        cli_interrupt_late();
    if (trained == EK_ERR_STOPPED && cli_interrupted()) {
        reason = "interrupted";
        tell_interrupt(t, message, sizeof message);
        cli_fail(t->self, "%s", message);
    } else if (trained == EK_ERR_STOPPED) {
        reason = "stopped";
        status = CLI_DONE;
    } else if (trained) {
        cli_fail(t->self, "%s", ek_error());
    } else if ((status = save(t)) == CLI_DONE) {
        reason = "done";
    }
    cli_watch_release(t);
    const bool done = strcmp(reason, "done") == 0;
    if (!done && !*message)
        snprintf(message, sizeof message, "%s", ek_error());
    cli_watch_close(t, reason, done ? NULL : message);
    const int reported = write_report(t, done, message);
    if (done && reported == CLI_DONE)
        cli_exact_compare(t);
    return status == CLI_DONE ? reported : status;
}

/* Checkpoints, and the recipe that is compared on going on. Of the data the trainer compares the digests. */
static void fill_checkpoints(cli_training *t, ek_fit_options *options)
{
    const cli_settings *set = t->set;
    options->checkpoint = cli_checkpoints(set);
    options->checkpoint_every = set->every;
    options->checkpoint_keep = set->keep;
    options->resume = set->resume != NULL;
    options->keep_best = set->keep_best;
    options->patience = set->patience;
    options->max_skipped = set->max_skipped ? set->max_skipped : -1;
    snprintf(t->recipe, sizeof t->recipe, "init %s, resize %s, colour %s, coarse %s, val-split %.17g",
             t->given_weights ? "given weights" : set->init, set->images.resize ? set->images.resize : "none",
             set->images.colour ? set->images.colour : "none", set->images.coarse ? "yes" : "no", set->val_split);
    options->recipe = t->recipe;
}

/* What the command line alone says. */
static ek_fit_options fit_options(const cli_settings *set)
{
    ek_fit_options options = {.epochs = set->epochs,
                              .batch_size = set->batch_size,
                              .micro_batch = set->micro_batch,
                              .ghost = set->ghost,
                              .seed = set->seed,
                              .no_shuffle = set->no_shuffle,
                              .threads = set->threads,
                              .augment = set->augment};
    cli_recipe_fill(&set->recipe, &options);
    return options;
}

/* Settings that do not go together, in the trainer's words: of its options, which are called as the command's but for
 * their underscores. */
static int check_options(const cli_command *self, const cli_settings *set)
{
    static const char prefix[] = "ek_fit: ";
    const ek_fit_options options = fit_options(set);
    char text[512];
    if (!ek_fit_check(&options))
        return CLI_GO;
    const char *said = ek_error();
    said += strncmp(said, prefix, sizeof prefix - 1) ? 0 : sizeof prefix - 1;
    snprintf(text, sizeof text, "%s", said);
    for (char *at = text; (at = strchr(at, '_')) != NULL;)
        *at = '-';
    return cli_usage(self, "%s", text);
}

/* A model may take the place of the one that it starts from. */
static int check_files(const cli_command *self, const cli_settings *set)
{
    const char *init = init_of(set->init) < 0 ? set->init : NULL;
    const int status = cli_check_files(
        self, (const cli_file[]){{"--net", cli_net_file(set->net), false},
                                 {set->resume ? "--resume" : "--checkpoint", cli_checkpoints(set), false},
                                 {"--tensorboard", set->board, false},
                                 {"--out", set->out, true},
                                 {"--report", set->report, true},
                                 {"--log", set->log, true},
                                 {.called = NULL}});
    return status != CLI_GO ? status
                            : cli_check_files(self, (const cli_file[]){{"--init", init, false},
                                                                       {"--report", set->report, true},
                                                                       {"--log", set->log, true},
                                                                       {.called = NULL}});
}

static int train(cli_training *t)
{
    const cli_settings *set = t->set;
    int status = check_files(t->self, set);
    if (status == CLI_GO)
        status = open_net(t, NULL);
    if (status == CLI_GO && set->out)
        status = probe_out(t);
    if (status == CLI_GO)
        status = cli_watch_open(t);
    if (status == CLI_GO)
        status = open_data(t);
    if (status != CLI_GO)
        return status;
    ek_fit_options options = fit_options(set);
    options.on_event = on_event;
    options.user = t;
    cli_exact_fill(t, &options);
    fill_checkpoints(t, &options);
    options.measure_norm = set->log || set->board;
    cli_watch_begin(t);
    return finish(t, ek_fit(t->net, t->train, t->val, &options));
}

enum { LOG_EVERY = 50 };

static int read_chart(const cli_command *self, cli_settings *set)
{
    static const char *const words[] = {"auto", "unicode", "ascii", "none", NULL};
    for (int how = DRAW_AUTO; how <= DRAW_NONE; how++) {
        if (!set->chart || !strcmp(set->chart, words[how])) {
            set->drawing = (cli_drawing)how;
            return CLI_GO;
        }
    }
    const char *nearest = cli_nearest(set->chart, words);
    return cli_usage(self, "--chart: there is no '%s'; %s%s%s", set->chart, nearest ? "did you mean '" : "there are ",
                     nearest ? nearest : "auto, unicode, ascii and none", nearest ? "'?" : "");
}

/* What goes together with what. */
static int check_settings(const cli_command *self, cli_settings *set)
{
    set->weights.file = set->init;
    if ((set->weights.renames.count || set->weights.leave.count) && init_of(set->init) >= 0)
        return cli_usage(self, "%s is about weights of a file; add --init FILE",
                         set->weights.renames.count ? "--rename" : "--leave");
    if (set->ghost && !set->micro_batch)
        return cli_usage(self, "--ghost says how --micro-batch M treats statistics; add that");
    if (set->checkpoint && set->resume)
        return cli_usage(self, "--resume DIR keeps checkpoints in that folder, too; leave out --checkpoint");
    if ((set->every || set->keep) && !cli_checkpoints(set))
        return cli_usage(self, "%s is about checkpoints; add --checkpoint DIR", set->every ? "--every" : "--keep");
    if (set->log_every >= 0 && !set->log && !set->board)
        return cli_usage(self, "--log-every is about --log FILE and --tensorboard DIR; add one");
    set->log_every = set->log_every >= 0 ? set->log_every : LOG_EVERY;
    return check_options(self, set);
}

int cli_train_read(const cli_command *self, int argc, char **argv, cli_settings *settings, cli_option *table)
{
    cli_settings set = {.data = CLI_DATA_DEFAULT,
                        .net = CLI_NET_DEFAULT,
                        .init = "xavier",
                        .epochs = 10,
                        .batch_size = 128,
                        .threads = ek_cpu_count(),
                        .max_skipped = 3,
                        .log_every = -1};
    const cli_option own[] = {
        {"--data", .value = "NAME|DIR", .text = &set.data, .help = "data set or folder (fashion-mnist)"},
        {"--net", .value = "NAME|FILE", .text = &set.net,
         .help = "one of 'evenkeel net list', or a net as text (bn-lenet)"},
        {"--init", .value = "xavier|pytorch|he|FILE", .text = &set.init,
         .help = "start from such weights, or a file's (xavier)"},
        CLI_WEIGHTS_ROWS(set.weights),
        {"--epochs", .value = "N", .integer = &set.epochs, .low = 1, .high = CLI_COUNT_MAX, .help = "(10)"},
        {"--batch-size", .value = "N", .integer = &set.batch_size, .low = 1, .high = CLI_COUNT_MAX,
         .help = "images in a step; the last of an epoch may have fewer (128)"},
        {"--micro-batch", .value = "M", .integer = &set.micro_batch, .low = 1, .high = CLI_COUNT_MAX,
         .help = "a step in less memory: M images of it at a time, with the same model to the bit (all)"},
        {"--ghost", .flag = &set.ghost,
         .help = "with --micro-batch: each takes its own batch statistics, and gradients are added up"},
        {"--seed", .value = "N", .seed = &set.seed,
         .help = "of first weights, shuffling, --augment and --val-split (0)"},
        {"--no-shuffle", .flag = &set.no_shuffle, .help = "take the images in file order"},
        CLI_DATA_ROWS(set.images),
        {"--augment", .value = "crop|flip|erase,...", .list = true, .text = &set.augment_text,
         .help = "change training images at random: crop[=4],flip,erase[=0.5] (none)"},
        {"--normalize", .value = "data|none|M/S", .text = &set.normalize,
         .help = "by mean and deviation of each channel: measured, or as M,M,M/S,S,S (none)"},
        {"--val-split", .value = "X", .number = &set.val_split, .low = 1e-9, .high = 1 - 1e-9,
         .help = "validate on this share of the training images (the test images)"},
        {"--threads", .value = "N", .integer = &set.threads, .low = 1, .high = CLI_THREADS_MAX,
         .help = "the model does not depend on it (all processors)"},
        {"--out", .letter = 'o', .value = "FILE", .text = &set.out, .help = "save the trained model here"},
        {"--checkpoint", .value = "DIR", .text = &set.checkpoint,
         .help = "keep checkpoints in this folder, so that training can be gone on with (none)"},
        {"--every", .value = "N", .integer = &set.every, .low = 1, .high = INT_MAX,
         .help = "steps from checkpoint to checkpoint (an epoch's)"},
        {"--keep", .value = "K", .integer = &set.keep, .low = 1, .high = CLI_COUNT_MAX,
         .help = "checkpoints that stay in the folder, the last ones (3)"},
        {"--resume", .value = "DIR", .text = &set.resume,
         .help = "go on from the newest checkpoint in this folder, and keep them there, as --checkpoint"},
        {"--keep-best", .flag = &set.keep_best,
         .help = "save the epoch of the best validation accuracy (the last epoch)"},
        {"--patience", .value = "N", .integer = &set.patience, .low = 1, .high = CLI_COUNT_MAX,
         .help = "stop after N epochs without a better validation accuracy (never)"},
        {"--exact-stats", .value = "N|all", .text = &set.exact, .implied = CLI_EXACT_AUTO,
         .help = "validate and save with exact statistics of N training images (2048, or an eighth)"},
        {"--exact-compare", .flag = &set.exact_compare,
         .help = "with --exact-stats: the log tells the validation with the moving ones, too"},
        {"--exact-final", .flag = &set.exact_final,
         .help = "with --exact-stats: save with those of all training images"},
        {"--max-skipped", .value = "N", .integer = &set.max_skipped, .low = 0, .high = CLI_COUNT_MAX,
         .help = "steps in a row that may be left out because they are not finite; one more ends it (3)"},
        {"--log", .value = "FILE", .text = &set.log, .help = "append a JSON object per event: docs/log.md"},
        {"--log-every", .value = "N", .integer = &set.log_every, .low = 0, .high = CLI_COUNT_MAX,
         .help = "steps from record to record, of --tensorboard too; 0: epochs alone (50)"},
        {"--tensorboard", .value = "DIR", .text = &set.board, .help = "write an event file for TensorBoard there"},
        {"--report", .value = "FILE", .text = &set.report,
         .help = "write a page of HTML about it all when training ends: docs/report.md"},
        {"--chart", .value = "unicode|ascii|none", .text = &set.chart,
         .help = "on a terminal (unicode where the locale is UTF-8)"},
        {"--quiet", .flag = &set.quiet, .help = "print nothing but errors"},
        {"--verbose", .flag = &set.verbose, .help = "print instruction set, data and net first"},
    };
    cli_option options[sizeof own / sizeof *own + RECIPE_OPTIONS + 1] = {{.name = NULL}};
    memcpy(options, own, sizeof own);
    cli_recipe_options(&set.recipe, options + sizeof own / sizeof *own);
    _Static_assert(sizeof options / sizeof *options <= TRAIN_OPTIONS, "room for the table");
    if (table) {
        memcpy(table, options, sizeof options);
        return CLI_GO;
    }
    int status = cli_parse(self, options, argc, argv);
    if (status == CLI_GO)
        status = cli_recipe_read(self, &set.recipe);
    if (status == CLI_GO)
        status = read_chart(self, &set);
    if (status == CLI_GO)
        status = cli_exact_read(self, &set);
    if (status == CLI_GO)
        status = cli_read_augment(self, set.augment_text, &set.augment);
    if (status == CLI_GO)
        status = check_settings(self, &set);
    if (status == CLI_GO)
        *settings = set;
    return status;
}

int cli_train(const cli_command *self, int argc, char **argv)
{
    cli_settings set;
    const int status = cli_train_read(self, argc, argv, &set, NULL);
    if (status != CLI_GO)
        return status;
    cli_training t = {.self = self, .set = &set, .log.fd = -1, .board.fd = -1};
    const int result = cli_finish(self, train(&t));
    free(t.run.epoch);
    ek_dataset_free(t.train);
    ek_dataset_free(t.val);
    ek_net_free(t.net);
    free(t.kept);
    free(t.not_kept);
    cli_interrupt_raise();
    return result;
}
