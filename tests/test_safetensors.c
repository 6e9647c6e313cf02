/* SPDX-License-Identifier: MIT
 * The safetensors reader and writer: what the format allows is read, everything else is one clear line. */
#define _GNU_SOURCE
#include "base/file.h"
#include "base/memory.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "io/values.h"
#include "scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- Files in memory ---------------------------------------------------------------------------------------- */

/* Parses a header of `header` bytes and `data` zero bytes behind it. */
static ek_status parse_parts(ek_safetensors **file, const char *json, size_t header, size_t data)
{
    unsigned char *bytes = ek_calloc(8 + header + data, 1);
    assert_non_null(bytes);
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)header >> 8 * i);
    memcpy(bytes + 8, json, header);
    ek_status status = ek_safetensors_parse(file, "some.file", bytes, 8 + header + data);
    assert_true((status == EK_OK) == (*file != NULL));
    return status;
}

static ek_status parse(ek_safetensors **file, const char *json, size_t data)
{
    return parse_parts(file, json, strlen(json), data);
}

/* One clear line that names the file and says `what`. */
static void assert_line(const char *what)
{
    const char *line = ek_error();
    if (strncmp(line, "some.file: ", 11) != 0 || !strstr(line, what) || strchr(line, '\n'))
        fail_msg("'%s' should name the file and say '%s'", line, what);
}

static void refuse(const char *json, size_t data, ek_status expected, const char *what)
{
    ek_safetensors *file;
    ek_status status = parse(&file, json, data);
    if (status != expected)
        fail_msg("%s (%zu bytes of data) gave %s", json, data, ek_status_name(status));
    assert_line(what);
}

static void accept(const char *json, size_t data)
{
    ek_safetensors *file;
    if (parse(&file, json, data))
        fail_msg("%s: %s", json, ek_error());
    ek_safetensors_free(file);
}

#define F32(name, shape, begin, end)                                                                                 \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":[" shape "],\"data_offsets\":[" #begin "," #end "]}"

/* ---- Reading ------------------------------------------------------------------------------------------------ */

static void test_reads_tensors_and_metadata(void **state)
{
    (void)state;
    ek_safetensors *file;
    assert_int_equal(parse(&file,
                           "{ \"b\" :{\"data_offsets\":[24,28], \"shape\" : [ 2 , 1 ],\"dtype\":\"F16\"},\n"
                           "\t\"__metadata__\":{\"format\":\"pt\",\"\":\"\"},\r\n"
                           "\"a\":{\"dtype\":\"F64\",\"shape\":[3],\"data_offsets\":[0,24]},"
                           "\"none\":{\"dtype\":\"I8\",\"shape\":[7,0],\"data_offsets\":[24,24]},"
                           "\"n\":{\"dtype\":\"BOOL\",\"shape\":[],\"data_offsets\":[28,29]}}  \n",
                           29),
                     EK_OK);
    assert_int_equal(file->tensor_count, 4);
    assert_string_equal(file->tensors[0].name, "b"); /* the header's order */
    const ek_safetensors_tensor *b = ek_safetensors_find(file, "b"), *n = ek_safetensors_find(file, "n");
    const ek_safetensors_tensor *a = ek_safetensors_find(file, "a"), *none = ek_safetensors_find(file, "none");
    assert_ptr_equal(b, &file->tensors[0]);
    assert_true(a && n && none && !ek_safetensors_find(file, "c") && !ek_safetensors_find(file, ""));
    assert_true(b->dtype == EK_DTYPE_F16 && b->ndim == 2 && b->dim[0] == 2 && b->dim[1] == 1 && b->count == 2);
    assert_true(n->ndim == 0 && n->count == 1 && none->ndim == 2 && none->count == 0);
    assert_ptr_equal(b->data, a->data + 24);
    assert_int_equal(file->metadata_count, 2);
    assert_string_equal(ek_safetensors_metadata(file, "format"), "pt");
    assert_string_equal(ek_safetensors_metadata(file, ""), "");
    assert_null(ek_safetensors_metadata(file, "form"));
    ek_safetensors_free(file);
    ek_safetensors_free(NULL);
    accept("{}", 0);
    accept("{\"__metadata__\":{}}", 0);
}

static void test_decodes_strings(void **state)
{
    (void)state;
    ek_safetensors *file;
    assert_int_equal(
        parse(&file,
              "{\"__metadata__\":{\"escapes\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\","
              "\"unicode\":\"\\u0041\\u00e9\\u20AC\\uD83D\\ude00|\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"}}",
              0),
        EK_OK);
    assert_string_equal(ek_safetensors_metadata(file, "escapes"), "\"\\/\b\f\n\r\t");
    assert_string_equal(ek_safetensors_metadata(file, "unicode"),
                        "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80|\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    ek_safetensors_free(file);
}

static void test_refuses_strings(void **state)
{
    (void)state;
    static const struct {
        const char *string, *what;
    } cases[] = {
        /* clang-format off */
        {"\\u0000", "U+0000"},
        {"\\ud800", "surrogate"},
        {"\\udc00", "surrogate"},
        {"\\ud800\\u0041", "surrogate"},
        {"\\ud800x", "surrogate"},
        {"\\u12g4", "hexadecimal"},
        {"\\u12", "hexadecimal"},
        {"\\x41", "unknown escape"},
        {"\\'", "unknown escape"},
        {"a\nb", "control character"},
        {"\x80", "UTF-8"},
        {"\xc3(", "UTF-8"},
        {"\xe2\x82", "UTF-8"},
        {"\xc0\x80", "UTF-8"},         /* overlong */
        {"\xc1\xbf", "UTF-8"},
        {"\xe0\x9f\xbf", "UTF-8"},
        {"\xf0\x8f\xbf\xbf", "UTF-8"},
        {"\xed\xa0\x80", "UTF-8"},     /* a surrogate */
        {"\xf4\x90\x80\x80", "UTF-8"}, /* beyond U+10FFFF */
        {"\xf5\x80\x80\x80", "UTF-8"},
        {"\xff", "UTF-8"},
        /* clang-format on */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[100];
        snprintf(json, sizeof json, "{\"__metadata__\":{\"k\":\"%s\"}}", cases[i].string);
        refuse(json, 0, EK_ERR_FORMAT, cases[i].what);
        snprintf(json, sizeof json, "{\"%s\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}",
                 cases[i].string);
        refuse(json, 4, EK_ERR_FORMAT, cases[i].what);
    }
    refuse("{\"\xf0\x9f\x98", 0, EK_ERR_FORMAT, "UTF-8"); /* the last byte would be behind the end */
    refuse("{\"abc", 0, EK_ERR_FORMAT, "closing quote");
    refuse("{\"abc\\", 0, EK_ERR_FORMAT, "escape");
}

static void test_refuses_syntax(void **state)
{
    (void)state;
    refuse("", 0, EK_ERR_FORMAT, "'{'");
    refuse(" {}", 0, EK_ERR_FORMAT, "'{'");
    refuse("[]", 0, EK_ERR_FORMAT, "'{'");
    refuse("{", 0, EK_ERR_FORMAT, "ends too early");
    refuse("{}x", 0, EK_ERR_FORMAT, "more text");
    refuse("{}{}", 0, EK_ERR_FORMAT, "more text");
    refuse("{,}", 0, EK_ERR_FORMAT, "a string");
    refuse("{," F32("a", "", 0, 4) "}", 4, EK_ERR_FORMAT, "a string");
    refuse("{\"a\"}", 0, EK_ERR_FORMAT, "':'");
    refuse("{\"a\":1}", 0, EK_ERR_FORMAT, "object");
    refuse("{" F32("a", "", 0, 4) ",}", 4, EK_ERR_FORMAT, "a string");
    refuse("{" F32("a", "", 0, 4) F32("b", "", 4, 8) "}", 8, EK_ERR_FORMAT, "','");
    refuse("{" F32("a", "1,", 0, 4) "}", 4, EK_ERR_FORMAT, "integer");
    refuse("{" F32("a", "1 1", 0, 4) "}", 4, EK_ERR_FORMAT, "','");
    refuse("{" F32("a", "[1]", 0, 4) "}", 4, EK_ERR_FORMAT, "integer");
    refuse("{" F32("a", "-1", 0, 4) "}", 4, EK_ERR_FORMAT, "integer");
    refuse("{" F32("a", "01", 0, 4) "}", 4, EK_ERR_FORMAT, "leading zero");
    refuse("{" F32("a", "1.0", 0, 4) "}", 4, EK_ERR_FORMAT, "fraction");
    refuse("{" F32("a", "1e0", 0, 4) "}", 4, EK_ERR_FORMAT, "fraction");
    refuse("{" F32("a", "18446744073709551616", 0, 4) "}", 4, EK_ERR_FORMAT, "64 bits");
    refuse("{\"__metadata__\":{\"a\":1}}", 0, EK_ERR_FORMAT, "a string");
    refuse("{\"__metadata__\":{\"a\":null}}", 0, EK_ERR_FORMAT, "a string");
    refuse("{\"__metadata__\":[]}", 0, EK_ERR_FORMAT, "object");
    refuse("{\"__metadata__\":{},\"__metadata__\":{}}", 0, EK_ERR_FORMAT, "second __metadata__");
    refuse("{\"__metadata__\":{\"a\":\"\",\"b\":\"\",\"\\u0061\":\"\"}}", 0, EK_ERR_FORMAT, "'a' twice");
}

static void test_refuses_tensors(void **state)
{
    (void)state;
    refuse("{\"a\":{}}", 0, EK_ERR_FORMAT, "'dtype' is missing");
    refuse("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, EK_ERR_FORMAT, "'shape' is missing");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", 4, EK_ERR_FORMAT, "'data_offsets' is missing");
    refuse("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", 4, EK_ERR_FORMAT, "second field 'dtype'");
    refuse("{\"a\":{\"strides\":[1]}}", 4, EK_ERR_FORMAT, "unknown field 'strides'");
    refuse("{\"a\":{\"dtype\":\"F31\"}}", 4, EK_ERR_UNSUPPORTED, "'F31'");
    refuse("{\"a\":{\"data_offsets\":[0]}}", 4, EK_ERR_FORMAT, "two data_offsets");
    refuse("{\"a\":{\"data_offsets\":[0,4,8]}}", 4, EK_ERR_FORMAT, "two data_offsets");
    refuse("{" F32("a", "1,1,1,1,1,1,1,1,1", 0, 4) "}", 4, EK_ERR_UNSUPPORTED, "more than 8 dimensions");
    refuse("{" F32("a", "2", 0, 4) "}", 4, EK_ERR_FORMAT, "'a': 2 elements of type F32 do not fill its 4 bytes");
    refuse("{" F32("a", "1", 0, 8) "}", 8, EK_ERR_FORMAT, "do not fill");
    refuse("{" F32("a", "0", 0, 4) "}", 4, EK_ERR_FORMAT, "do not fill");
    refuse("{" F32("a", "9223372036854775808", 0, 4) "}", 4, EK_ERR_FORMAT, "overflows");
    refuse("{" F32("a", "4294967296,4294967296", 0, 0) "}", 0, EK_ERR_FORMAT, "overflows");
    refuse("{" F32("a", "4611686018427387904", 0, 0) "}", 0, EK_ERR_FORMAT, "do not fill"); /* times 4 is 2^64 */
    refuse("{" F32("a", "4611686018427387905", 0, 4) "}", 4, EK_ERR_FORMAT, "do not fill");
    refuse("{" F32("a", "1", 4, 0) "}", 4, EK_ERR_FORMAT, "bytes 4 to 0");
    refuse("{" F32("a", "1", 18446744073709551612, 0) "}", 4, EK_ERR_FORMAT, "bytes 18446744073709551612 to 0");
    refuse("{" F32("a", "2", 0, 8) "}", 7, EK_ERR_FORMAT, "cut short");
    refuse("{" F32("a", "", 0, 4) "," F32("a", "", 4, 8) "}", 8, EK_ERR_FORMAT, "'a' is there twice");
    refuse("{" F32("a", "", 0, 4) "," F32("b", "", 0, 4) "}", 4, EK_ERR_FORMAT, "'a' and 'b' overlap");
    refuse("{" F32("a", "2", 0, 8) "," F32("b", "2", 4, 12) "}", 12, EK_ERR_FORMAT, "'a' and 'b' overlap");
    refuse("{" F32("a", "3", 0, 12) "," F32("b", "0", 4, 4) "}", 12, EK_ERR_FORMAT, "'a' and 'b' overlap");
    refuse("{" F32("b", "", 8, 12) "," F32("a", "", 0, 4) "}", 12, EK_ERR_FORMAT, "4 bytes before tensor 'b'");
    refuse("{" F32("a", "", 4, 8) "}", 8, EK_ERR_FORMAT, "4 bytes before tensor 'a'");
    refuse("{" F32("a", "", 0, 4) "}", 5, EK_ERR_FORMAT, "1 bytes behind the last");
    refuse("{}", 1, EK_ERR_FORMAT, "1 bytes behind the last");
    accept("{" F32("b", "", 8, 12) "," F32("a", "2", 0, 8) "," F32("c", "0", 8, 8) "," F32("d", "0", 0, 0) "}", 12);
}

/* A header length that lies. */
static void test_refuses_hostile_lengths(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {3,          4,         100000000,         100000001,      INT32_MAX,
                                       UINT32_MAX, INT64_MAX, UINT64_C(1) << 63, UINT64_MAX - 7, UINT64_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        unsigned char *bytes = ek_calloc(10, 1);
        for (int b = 0; b < 8; b++)
            bytes[b] = (unsigned char)(lengths[i] >> 8 * b);
        bytes[8] = '{';
        bytes[9] = '}';
        ek_safetensors *file;
        assert_int_equal(ek_safetensors_parse(&file, "some.file", bytes, 10), EK_ERR_FORMAT);
        assert_line(lengths[i] > 100000000 ? "its first bytes announce" : "");
        assert_null(file);
    }
    static const char *const others[][2] = {{"\x89PNG\r\n\x1a\n", "a PNG image, and no safetensors file"},
                                            {"\xff\xd8\xff\xe0\1\20JF", "a JPEG image, and no safetensors file"},
                                            {"\x08\x07\x12\x07pyto", "an ONNX file, or another protobuf"},
                                            {"input 1 ", "a text, such as a net's, and no safetensors file"}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        ek_safetensors *file;
        unsigned char *bytes = ek_calloc(9, 1);
        memcpy(bytes, others[i][0], 8);
        assert_int_equal(ek_safetensors_parse(&file, "some.file", bytes, 9), EK_ERR_FORMAT);
        assert_line(others[i][1]);
    }
    for (size_t size = 0; size < 8; size++) {
        ek_safetensors *file;
        assert_int_equal(ek_safetensors_parse(&file, "some.file", ek_calloc(size, 1), size), EK_ERR_FORMAT);
        assert_line("too few");
    }
}

static const char small[] = "{\"__metadata__\":{\"format\":\"pt\",\"k\":\"\\u00e9\\ud83d\\ude00\"},"
                            "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                            "\"n\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[8,16]}}";

/* Cut at every byte: never accepted, never read beyond (the sanitizers watch). */
static void test_truncated_everywhere(void **state)
{
    (void)state;
    const size_t header = strlen(small), size = 8 + header + 16;
    for (size_t cut = 0; cut < size; cut++) {
        unsigned char *bytes = ek_calloc(cut, 1);
        unsigned char whole[512] = {(unsigned char)header};
        memcpy(whole + 8, small, header);
        memcpy(bytes, whole, cut);
        ek_safetensors *file;
        assert_int_equal(ek_safetensors_parse(&file, "some.file", bytes, cut), EK_ERR_FORMAT);
        assert_line("");
    }
    accept(small, 16);
}

/* Every header that differs in one bit is refused with a line, or still describes data that is there. */
static void test_every_flipped_bit(void **state)
{
    (void)state;
    int refused = 0, accepted = 0;
    for (size_t bit = 0; bit < 8 * strlen(small); bit++) {
        char flipped[sizeof small];
        memcpy(flipped, small, sizeof small);
        flipped[bit / 8] = (char)(flipped[bit / 8] ^ 1 << bit % 8);
        ek_safetensors *file;
        if (parse_parts(&file, flipped, strlen(small), 16)) {
            assert_line("");
            refused++;
            continue;
        }
        for (size_t t = 0; t < file->tensor_count; t++)
            for (int64_t i = 0; i < file->tensors[t].count; i++)
                assert_true(ek_value_integer(&file->tensors[t], i) == 0); /* inside the data */
        ek_safetensors_free(file);
        accepted++;
    }
    assert_true(refused > 500 && accepted > 50);
}

/* ---- Values ------------------------------------------------------------------------------------------------- */

static float float_from(ek_dtype dtype, uint64_t bits)
{
    unsigned char bytes[9]; /* at an odd address */
    for (int i = 0; i < 8; i++)
        bytes[1 + i] = (unsigned char)(bits >> 8 * i);
    return ek_value_float(&(ek_safetensors_tensor){.dtype = dtype, .count = 1, .data = bytes + 1}, 0);
}

static int64_t integer_from(ek_dtype dtype, uint64_t bits)
{
    unsigned char bytes[16] = {0};
    for (size_t i = 0; i < 8; i++)
        bytes[ek_dtype_size(dtype) + i] = (unsigned char)(bits >> 8 * i);
    return ek_value_integer(&(ek_safetensors_tensor){.dtype = dtype, .count = 2, .data = bytes}, 1);
}

static void test_values(void **state)
{
    (void)state;
    assert_true(float_from(EK_DTYPE_F16, 0x3c00) == 1.0f);
    assert_true(float_from(EK_DTYPE_F16, 0xc248) == -3.140625f);
    assert_true(float_from(EK_DTYPE_F16, 0x7bff) == 65504.0f);
    assert_true(float_from(EK_DTYPE_F16, 0x0400) == 0x1p-14f);
    assert_true(float_from(EK_DTYPE_F16, 0x03ff) == 0x1.ff8p-15f); /* subnormal */
    assert_true(float_from(EK_DTYPE_F16, 0x8001) == -0x1p-24f);
    assert_true(float_from(EK_DTYPE_F16, 0x8000) == 0 && signbit(float_from(EK_DTYPE_F16, 0x8000)));
    assert_true(float_from(EK_DTYPE_F16, 0xfc00) == -INFINITY);
    assert_true(isnan(float_from(EK_DTYPE_F16, 0x7c01)));
    assert_true(float_from(EK_DTYPE_BF16, 0xc049) == -3.140625f);
    assert_true(float_from(EK_DTYPE_BF16, 0x0001) == 0x1p-133f);
    assert_true(float_from(EK_DTYPE_F32, 0x40490fdb) == 3.14159274f);
    assert_true(float_from(EK_DTYPE_F64, UINT64_C(0x400921fb54442d18)) == 3.14159274f);
    assert_true(float_from(EK_DTYPE_F64, UINT64_C(0x7fe0000000000000)) == INFINITY);
    assert_true(integer_from(EK_DTYPE_I64, UINT64_MAX) == -1 && integer_from(EK_DTYPE_I64, 469) == 469);
    assert_true(integer_from(EK_DTYPE_I32, 0x80000000) == INT32_MIN && integer_from(EK_DTYPE_I16, 0xfffe) == -2);
    assert_true(integer_from(EK_DTYPE_I8, 0x7f) == 127 && integer_from(EK_DTYPE_I8, 0x80) == -128);
    assert_true(integer_from(EK_DTYPE_U64, UINT64_MAX) == INT64_MAX);
    assert_true(integer_from(EK_DTYPE_U32, UINT32_MAX) == UINT32_MAX && integer_from(EK_DTYPE_U8, 0xff) == 255);
    for (int d = 0; d < EK_DTYPE_COUNT; d++)
        assert_false(ek_dtype_is_float((ek_dtype)d) && ek_dtype_is_integer((ek_dtype)d));
    assert_false(ek_dtype_is_integer(EK_DTYPE_BOOL) || ek_dtype_is_float(EK_DTYPE_F8_E4M3));
}

/* ---- Writing ------------------------------------------------------------------------------------------------ */

static char path[SCRATCH_SIZE];

static int make_path(void **state)
{
    (void)state;
    int fd = mkstemp(scratch_template(path, "safetensors"));
    return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(path);
}

static const float weights[6] = {1, -2, 0.5f, 3.14159274f, 1e-40f, -0.0f};
static const int64_t counter = INT64_C(0x0102030405060708);
static const ek_safetensors_item items[] = {
    {"0.weight", 2, (const int64_t[]){2, 3}, 6, weights, NULL},
    {"0.num_batches_tracked", 0, NULL, 1, NULL, &counter},
    {"\xc3\xa9\"\\\n\x01", 1, (const int64_t[]){0}, 0, weights, NULL},
};
static const ek_safetensors_pair pairs[] = {{"format", "pt"}, {"text", "line 1\nline \"2\"\t\x7f"}};

static ek_status write_file(const ek_safetensors_pair *metadata, size_t metadata_count, size_t item_count)
{
    ek_file_writer *writer;
    EK_TRY(ek_file_create(&writer, path));
    ek_status status = ek_safetensors_write(writer, metadata, metadata_count, items, item_count);
    if (!status)
        return ek_file_commit(writer);
    ek_file_abandon(writer);
    return status;
}

/* To the byte, as docs/format.md has it. */
static void test_writes_these_bytes(void **state)
{
    (void)state;
    static const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\",\"text\":\"line 1\\nline \\\"2\\\"\\u0009\x7f\"},"
        "\"0.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[8,32]},"
        "\"0.num_batches_tracked\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},"
        "\"\xc3\xa9\\\"\\\\\\n\\u0001\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[32,32]}}";
    static const unsigned char data[] = {8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0};
    unsigned char *bytes;
    size_t size;
    assert_int_equal(write_file(pairs, 2, 3), EK_OK);
    assert_int_equal(ek_file_read(path, 4096, &bytes, &size), EK_OK);
    size_t padded = (8 + strlen(header) + 63) / 64 * 64;
    assert_int_equal(size, padded + 32);
    assert_int_equal(bytes[0] + 256 * bytes[1], padded - 8);
    for (int i = 2; i < 8; i++)
        assert_int_equal(bytes[i], 0);
    assert_memory_equal(bytes + 8, header, strlen(header));
    for (size_t i = 8 + strlen(header); i < padded; i++)
        assert_int_equal(bytes[i], ' ');
    assert_memory_equal(bytes + padded, data, sizeof data);
    ek_free(bytes);
}

static void test_reads_what_it_wrote(void **state)
{
    (void)state;
    ek_safetensors *file;
    assert_int_equal(write_file(pairs, 2, 3), EK_OK);
    assert_int_equal(ek_safetensors_read(&file, path), EK_OK);
    assert_int_equal(file->tensor_count, 3);
    for (size_t t = 0; t < 3; t++) {
        const ek_safetensors_tensor *tensor = ek_safetensors_find(file, items[t].name);
        assert_non_null(tensor);
        assert_ptr_equal(tensor, &file->tensors[t]);
        assert_int_equal(tensor->ndim, items[t].ndim);
        assert_int_equal(tensor->count, items[t].count);
    }
    for (int i = 0; i < 6; i++) {
        float value = ek_value_float(&file->tensors[0], i);
        assert_memory_equal(&value, &weights[i], sizeof value);
    }
    assert_true(ek_value_integer(&file->tensors[1], 0) == counter);
    for (size_t i = 0; i < 2; i++)
        assert_string_equal(ek_safetensors_metadata(file, pairs[i].key), pairs[i].value);
    ek_safetensors_free(file);
    assert_int_equal(write_file(NULL, 0, 0), EK_OK);
    assert_int_equal(ek_safetensors_read(&file, path), EK_OK);
    assert_int_equal(file->tensor_count + file->metadata_count, 0);
    ek_safetensors_free(file);
}

static void test_writes_no_broken_text(void **state)
{
    (void)state;
    assert_int_equal(write_file((const ek_safetensors_pair[]){{"key", "\xff\xfe"}}, 1, 1), EK_ERR_ARGUMENT);
    assert_non_null(strstr(ek_error(), "UTF-8"));
    assert_int_equal(write_file((const ek_safetensors_pair[]){{"k\xc3", "value"}}, 1, 1), EK_ERR_ARGUMENT);
}

static void test_missing_file(void **state)
{
    (void)state;
    ek_safetensors *file;
    assert_int_equal(ek_safetensors_read(&file, "/nowhere/at/all"), EK_ERR_NOT_FOUND);
    assert_non_null(strstr(ek_error(), "/nowhere/at/all"));
    assert_null(file);
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    int failures = 0;
    for (int n = 1;; n++, failures++) {
        ek_safetensors *file = NULL;
        ek_memory_fail_at(n);
        ek_status status = write_file(pairs, 2, 3);
        if (!status)
            status = ek_safetensors_read(&file, path);
        ek_memory_fail_at(0);
        ek_safetensors_free(file);
        if (!status)
            break;
        assert_int_equal(status, EK_ERR_MEMORY);
        assert_null(file);
    }
    assert_in_range(failures, 8, 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_tensors_and_metadata),
        cmocka_unit_test(test_decodes_strings),
        cmocka_unit_test(test_refuses_strings),
        cmocka_unit_test(test_refuses_syntax),
        cmocka_unit_test(test_refuses_tensors),
        cmocka_unit_test(test_refuses_hostile_lengths),
        cmocka_unit_test(test_truncated_everywhere),
        cmocka_unit_test(test_every_flipped_bit),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_writes_these_bytes),
        cmocka_unit_test(test_reads_what_it_wrote),
        cmocka_unit_test(test_writes_no_broken_text),
        cmocka_unit_test(test_missing_file),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("safetensors", tests, make_path, remove_path);
}
