/* SPDX-License-Identifier: MIT
 * Logs read back: which texts are JSON, members, numbers and strings, runs that mix in a file, torn lines. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../cli/json_read.h"
#include "../cli/runs.h"

static cli_span span(const char *text)
{
    return (cli_span){text, strlen(text)};
}

/* ---- JSON ------------------------------------------------------------------------------------------------------ */

static void test_valid(void **state)
{
    (void)state;
    static const char *const right[] = {"{}",
                                        "[]",
                                        " { \"a\" : [ 1 , -0.5e+3 , { } ] }\r\n",
                                        "\"\\u00e9\\n\\\"\"",
                                        "0",
                                        "-0",
                                        "1e9",
                                        "true",
                                        "null",
                                        "[[[]]]",
                                        "{\"a\":1,\"a\":2}",
                                        "\"\xff\""};
    static const char *const wrong[] = {"",
                                        " ",
                                        "{",
                                        "}",
                                        "{\"a\"}",
                                        "{\"a\":}",
                                        "{\"a\":1,}",
                                        "{a:1}",
                                        "[1,]",
                                        "[,1]",
                                        "[1",
                                        "01",
                                        "+1",
                                        ".5",
                                        "1.",
                                        "1e",
                                        "1e+",
                                        "-",
                                        "NaN",
                                        "Infinity",
                                        "nul",
                                        "truex",
                                        "\"",
                                        "\"\\\"",
                                        "\"\\x\"",
                                        "\"\\u12g4\"",
                                        "\"\\u123",
                                        "\"a\nb\"",
                                        "{} {}",
                                        "'a'",
                                        "{\"a\":1 \"b\":2}"};
    for (size_t i = 0; i < sizeof right / sizeof *right; i++)
        if (!cli_json_is_valid(span(right[i])))
            fail_msg("'%s' is refused", right[i]);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (cli_json_is_valid(span(wrong[i])))
            fail_msg("'%s' is accepted", wrong[i]);
    assert_false(cli_json_is_valid((cli_span){"\"\0\"", 3}));
    assert_false(cli_json_is_valid((cli_span){"\"\\\0\"", 4}));
    char deep[200];
    memset(deep, '[', 100);
    memset(deep + 100, ']', 100);
    assert_false(cli_json_is_valid((cli_span){deep, 200}));
    assert_true(cli_json_is_valid((cli_span){deep + 80, 40}));
}

static void test_members(void **state)
{
    (void)state;
    cli_span value, object = span(" {\"a\": 1.25, \"b\":{\"a\":\"x\\u00e9\\u0007y\"},\"c\":null, \"a\":2} ");
    char text[8];
    assert_true(cli_json_member(object, "a", &value) && cli_json_read_real(value) == 1.25);
    assert_true(cli_json_member(object, "c", &value) && isnan(cli_json_read_real(value)));
    assert_false(cli_json_member(object, "d", &value));
    assert_false(cli_json_member(span("[1]"), "a", &value));
    assert_true(cli_json_member(object, "b", &value) && cli_json_member(value, "a", &value));
    assert_true(cli_json_read_text(value, text, sizeof text));
    assert_string_equal(text, "x\xc3\xa9?y");
    assert_true(cli_json_read_text(value, text, 3)); /* no half of a character */
    assert_string_equal(text, "x");
    assert_false(cli_json_read_text(span("1"), text, sizeof text));
    assert_true(cli_json_read_real(span("0.30000000000000004")) == 0.1 + 0.2);
    assert_true(isnan(cli_json_read_real(span("\"1\""))) && isnan(cli_json_read_real(span("true"))));
    assert_true(isinf(cli_json_read_real(span("1e999")))); /* what is drawn is asked for being finite */
}

/* Whatever the bytes, what comes out is whole characters that a line can show. */
static void test_text(void **state)
{
    (void)state;
    static const struct {
        const char *text, *wanted;
        size_t room;
    } cases[] = {
        {"plain", "plain", 64},
        {"plain", "pla", 4},
        {"", "", 1},
        {"x", "", 1},
        {"h\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "h\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 11},
        {"h\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "h\xc3\xa4\xe2\x82\xac", 10},
        {"h\xc3\xa4\xe2\x82\xac", "h\xc3\xa4", 6},
        {"a\xff\xc3", "a??", 64},                                      /* no beginning, no end */
        {"\xc0\xaf\xed\xa0\x80", "?????", 64},                         /* not the shortest form; half of a pair */
        {"a\x1b[2J\x9b\xc2\x9b\x7f\n", "a?[2J????", 64},               /* what steers */
        {"\xef\xbf\xbd\xef\xbf\xbe", "\xef\xbf\xbd?", 64},             /* U+FFFD is a character, U+FFFE none */
        {"\xef\xb7\x8f\xef\xb7\x90", "\xef\xb7\x8f?", 64},             /* U+FDCF, U+FDD0 */
        {"\xf4\x8f\xbf\xbd\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbd?", 64}, /* U+10FFFD, U+10FFFF */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char got[64], json[128];
        assert_int_equal(cli_copy_text(got, cases[i].room, cases[i].text, strlen(cases[i].text)),
                         strlen(cases[i].wanted));
        assert_string_equal(got, cases[i].wanted);
        snprintf(json, sizeof json, "\"%s\"", cases[i].text);
        assert_true(cli_json_read_text(span(json), got, cases[i].room));
        assert_string_equal(got, cases[i].wanted);
    }
    char got[64];
    assert_true(cli_json_read_text(span("\"\\ufffe\\ufdd0\\ud83d\\u0000\\u00e4\\n\""), got, sizeof got));
    assert_string_equal(got, "????\xc3\xa4 ");
}

static void test_items(void **state)
{
    (void)state;
    cli_span value, array = span("[ 1 ,[2,3], {\"a\":4} ]");
    assert_true(cli_json_item(&array, &value) && cli_json_read_real(value) == 1);
    assert_true(cli_json_item(&array, &value) && value.size == 5 && !memcmp(value.at, "[2,3]", 5));
    assert_true(cli_json_item(&array, &value) && cli_json_member(value, "a", &value));
    assert_false(cli_json_item(&array, &value));
    static const char *const none[] = {"[]", "[ ]", "{\"a\":1}", "1", "\"[\"", ""};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        array = span(none[i]);
        assert_false(cli_json_item(&array, &value));
    }
}

/* ---- Runs ------------------------------------------------------------------------------------------------------ */

static const char start_a[] =
    "{\"event\":\"start\",\"run\":\"a\",\"net\":{\"name\":\"lenet\",\"text\":\"input 1 2 3\\n\"}}\n";
static const char start_b[] = "{\"event\":\"start\",\"run\":\"b\"}\n";

static void parse(cli_runs *runs, const char *const *lines)
{
    char text[4096] = "";
    *runs = (cli_runs){0};
    for (; *lines; lines++)
        strcat(text, *lines);
    assert_true(cli_runs_parse(runs, text, strlen(text)));
}

static void test_runs(void **state)
{
    (void)state;
    cli_runs runs;
    parse(&runs, (const char *const[]){
                     "{\"event\":\"epoch\",\"run\":\"a\",\"epoch\":1,\"train_loss\":9}\n", /* before its start */
                     start_a, start_b, start_a, /* the same again is no new run */
                     "{\"event\":\"epoch\",\"run\":\"b\",\"epoch\":1,\"train_loss\":3,\"val_loss\":4,"
                     "\"val_accuracy\":0.5}\n",
                     "{\"event\":\"epoch\",\"run\":\"a\",\"epoch\":1,\"train_loss\":1,\"val_loss\":null,"
                     "\"val_accuracy\":0.25}\r\n",
                     "{\"event\":\"step\",\"run\":\"a\",\"epoch\":2,\"step\":3,\"loss\":7}\n",
                     "{\"event\":\"epoch\",\"run\":\"a\",\"epoch\":2,\"train_lo\n",        /* torn */
                     "{\"event\":\"epoch\",\"run\":\"a\",\"epoch\":1,\"train_loss\":8}\n", /* back in time */
                     "{\"event\":\"epoch\",\"run\":\"a\",\"epoch\":1e300,\"train_loss\":8}\n", "\n", "[]\n",
                     "{\"event\":\"epoch\",\"run\":\"c\",\"epoch\":1}\n",
                     "{\"event\":\"epoch\",\"run\":\"a\",\"epoch\":3,\"train_loss\":0.5}", NULL});
    assert_int_equal(runs.count, 2);
    const cli_run *a = &runs.run[0], *b = &runs.run[1];
    assert_true(!strcmp(a->id, "a") && !strcmp(a->net, "lenet") && !strcmp(b->id, "b") && !*b->net);
    assert_int_equal(a->epochs, 2);
    assert_int_equal(b->epochs, 1);
    assert_true(a->epoch[0].epoch == 1 && a->epoch[1].epoch == 3);
    assert_true(a->epoch[0].value[CURVE_TRAIN_LOSS] == 1 && isnan(a->epoch[0].value[CURVE_VAL_LOSS]) &&
                a->epoch[0].value[CURVE_VAL_ACCURACY] == 0.25 && a->epoch[1].value[CURVE_TRAIN_LOSS] == 0.5);
    assert_true(b->epoch[0].value[CURVE_VAL_LOSS] == 4);
    cli_runs_free(&runs);
}

/* Runs that go on with others, one of them twice and from an older checkpoint than its last. */
static void test_joined(void **state)
{
    (void)state;
    cli_runs runs;
    parse(&runs, (const char *const[]){
                     start_a, start_b, "{\"event\":\"epoch\",\"run\":\"a\",\"epoch\":1,\"train_loss\":1}\n",
                     "{\"event\":\"epoch\",\"run\":\"a\",\"epoch\":2,\"train_loss\":2}\n",
                     "{\"event\":\"start\",\"run\":\"c\"}\n",
                     "{\"event\":\"resume\",\"run\":\"c\",\"epochs\":1,\"continues\":\"a\"}\n",
                     "{\"event\":\"epoch\",\"run\":\"c\",\"epoch\":2,\"train_loss\":3}\n",
                     "{\"event\":\"epoch\",\"run\":\"b\",\"epoch\":1,\"train_loss\":9}\n",
                     "{\"event\":\"start\",\"run\":\"d\"}\n",
                     "{\"event\":\"resume\",\"run\":\"d\",\"epochs\":2,\"continues\":\"c\"}\n",
                     "{\"event\":\"resume\",\"run\":\"d\",\"epochs\":0,\"continues\":\"d\"}\n", /* of itself */
                     "{\"event\":\"epoch\",\"run\":\"d\",\"epoch\":3,\"train_loss\":4}\n",
                     "{\"event\":\"start\",\"run\":\"e\"}\n",
                     "{\"event\":\"resume\",\"run\":\"e\",\"epochs\":0,\"continues\":\"x\"}\n", /* of another log */
                     "{\"event\":\"resume\",\"run\":\"e\",\"epochs\":0,\"continues\":null}\n", NULL});
    assert_int_equal(runs.count, 3);
    const cli_run *joined = &runs.run[0];
    assert_true(!strcmp(joined->id, "d") && !strcmp(joined->net, "lenet"));
    assert_int_equal(joined->epochs, 3);
    static const double losses[] = {1, 3, 4};
    for (int i = 0; i < 3; i++)
        assert_true(joined->epoch[i].epoch == i + 1 && joined->epoch[i].value[CURVE_TRAIN_LOSS] == losses[i]);
    assert_true(!strcmp(runs.run[1].id, "b") && runs.run[1].epochs == 1);
    assert_true(!strcmp(runs.run[2].id, "e") && runs.run[2].epochs == 0);
    cli_runs_free(&runs);
}

/* Cut anywhere, a log gives the runs and epochs whose lines are whole. */
static void test_cut(void **state)
{
    (void)state;
    char text[4096];
    size_t ends[12], size = 0, lines = 0;
    size += (size_t)snprintf(text, sizeof text, "%s", start_a);
    for (int epoch = 1; epoch <= 9; epoch++) {
        ends[lines++] = size - 1;
        size +=
            (size_t)snprintf(text + size, sizeof text - size,
                             "{\"event\":\"epoch\",\"run\":\"a\",\"epoch\":%d,\"train_loss\":0.%d}\n", epoch, epoch);
    }
    ends[lines++] = size - 1;
    for (size_t cut = 0; cut <= size; cut++) {
        char *exact = malloc(cut ? cut : 1); /* so that a sanitizer sees what reads behind it */
        size_t whole = 0;
        cli_runs runs = {0};
        assert_non_null(exact);
        memcpy(exact, text, cut);
        while (whole < lines && ends[whole] <= cut)
            whole++;
        assert_true(cli_runs_parse(&runs, exact, cut));
        assert_int_equal(runs.count, whole > 0);
        assert_int_equal(whole > 0 ? runs.run[0].epochs : 0, whole > 0 ? whole - 1 : 0);
        cli_runs_free(&runs);
        free(exact);
    }
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *path[4], *name[4];
    } cases[] = {
        {{"runs/a.jsonl"}, {"a"}},
        {{"log"}, {"log"}},
        {{".hidden"}, {".hidden"}},
        {{"a/log.jsonl", "b/log.jsonl"}, {"a", "b"}},
        {{"s/lr=0.1/log.jsonl", "s/lr=0.01/log.jsonl", "t/lr=0.1/log.jsonl"}, {"s/lr=0.1", "lr=0.01", "t/lr=0.1"}},
        {{"a.jsonl", "b.jsonl"}, {"a", "b"}},
        {{"x/a.jsonl", "y/a.jsonl", "b.jsonl"}, {"x/a", "y/a", "b"}},
        {{"a.jsonl", "x/a.jsonl"}, {"a", "x"}},
        {{"a.jsonl", "a.jsonl"}, {"a", "a"}},
        {{"/log", "b/log"}, {"/log", "b"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int count = 0;
        char name[CLI_LABEL];
        while (count < 4 && cases[i].path[count])
            count++;
        for (int k = 0; k < count; k++) {
            cli_runs_name(cases[i].path, count, k, name);
            assert_string_equal(name, cases[i].name[k]);
        }
    }
}

/* A log of more runs than are read says so, instead of losing some. */
static void test_many(void **state)
{
    (void)state;
    enum { MANY = 4097, LINE = 40 };
    char *text = malloc((size_t)MANY * LINE);
    size_t size = 0, before = 0;
    assert_non_null(text);
    for (int i = 0; i < MANY; i++) {
        before = size;
        size += (size_t)snprintf(text + size, LINE, "{\"event\":\"start\",\"run\":\"%d\"}\n", i);
    }
    cli_runs runs = {0};
    assert_true(cli_runs_parse(&runs, text, before) && !runs.too_many);
    assert_int_equal(runs.count, MANY - 1);
    cli_runs_free(&runs);
    assert_true(!cli_runs_parse(&runs, text, size) && runs.too_many);
    cli_runs_free(&runs);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid), cmocka_unit_test(test_members), cmocka_unit_test(test_items),
        cmocka_unit_test(test_text),  cmocka_unit_test(test_runs),    cmocka_unit_test(test_many),
        cmocka_unit_test(test_cut),   cmocka_unit_test(test_joined),  cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests_name("runs", tests, NULL, NULL);
}
