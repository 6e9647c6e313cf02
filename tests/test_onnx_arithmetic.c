/* SPDX-License-Identifier: MIT
 * Arithmetic in ONNX graphs: what computes an activation becomes one, and nothing else does; constants of constants. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#ifdef EK_HAVE_ONNX

#include "base/memory.h"
#include "onnx_graph.h"

static graph *image_graph(void)
{
    return GRAPH(0, 2, 6, 6);
}

static ek_net *imported(graph *g)
{
    ek_net *net = NULL;
    if (graph_import(g, &net, NULL))
        fail_msg("%s", ek_error());
    return net;
}

static void expect_net(graph *g, const char *text)
{
    ek_net *net = imported(g);
    char *written = ek_net_text(net);
    assert_string_equal(written, text);
    free(written);
    ek_net_free(net);
}

/* ---- Activations ---------------------------------------------------------------------------------------------- */

/* Activations in parts, however their terms stand. */
static void activations_in_parts(void **state)
{
    (void)state;
    static const struct {
        const char *nodes, *text;
    } cases[] = {
        {"Max x,0 y", "relu\n"},
        {"Max 0,x y", "relu\n"},
        {"Relu x r; Min r,3.4e38 y", "relu\n"},
        {"Max x,0 r; Min r,inf y", "relu\n"},
        {"Neg x a; Max a,x b; Add b,x c; Mul c,0.5 y", "relu\n"},
        {"Neg x a; Min a,0 b; Neg b y", "relu\n"},
        {"Mul x,0.25 a; Max x,a y", "leaky_relu negative_slope=0.25\n"},
        {"Min x,0 a; Mul a,-0.5 b; Relu x c; Sub c,b y", "leaky_relu negative_slope=0.5\n"},
        {"Neg x a; Relu a b; Mul 3,b c; Relu x d; Sub d,c y", "leaky_relu negative_slope=3\n"},
        {"Sub x,20 a; Relu a b; Sub 20,x c; Relu c d; Sub b,d e; Add e,20 f; Relu f y", "relu\n"},
        {"Neg x a; Exp a b; Add 1,b c; Reciprocal c y", "sigmoid\n"},
        {"Mul x,2 a; Sigmoid a b; Mul b,2 c; Sub c,1 y", "tanh\n"},
        {"Max x,-3.4e38 a; Min 3.4e38,a b; Relu b y", "relu\n"},
        {"Pow x,1 a; Tanh a y", "tanh\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[100];
        graph *g = image_graph();
        graph_nodes(g, cases[i].nodes);
        snprintf(text, sizeof text, "input 2 6 6\n%s", cases[i].text);
        expect_net(g, text);
    }
}

/* x + x, and a sum of three. */
static void doubled(void **state)
{
    (void)state;
    graph *g = image_graph();
    graph_nodes(g, "Relu x r; Add r,r y");
    expect_net(g, "input 2 6 6\nrelu\nresidual {\n    dropout p=0\n}\n");
    g = image_graph();
    graph_nodes(g, "Sum x,x,x y");
    float x[72], y[72];
    for (int i = 0; i < 72; i++)
        x[i] = (float)(i - 30);
    ek_net *net = imported(g);
    assert_int_equal(ek_predict(net, 1, x, 1, y), EK_OK);
    for (int i = 0; i < 72; i++)
        assert_true(y[i] == 3 * x[i]);
    ek_net_free(net);
}

#define LIMITS "it limits values, and is no layer: max(x, 0), which is relu, and leaky_relu's arithmetic are"
#define ALONE "alone it is no layer: sums and products with constants are"
#define PART                                                                                                         \
    "it is part of no layer that is read: the arithmetic of relu, leaky_relu, sigmoid, tanh, gelu and layernorm is"

/* Functions that are an activation near 0, and another thing farther out. */
static void nearly_activations(void **state)
{
    (void)state;
    static const struct {
        const char *nodes, *message;
    } cases[] = {
        {"Relu x r; Min r,20 y", "node 'make y' (Min): " LIMITS},
        {"Min x,9 y", "node 'make y' (Min): " LIMITS},
        {"Max -10,x y", "node 'make y' (Max): " LIMITS},
        {"Max x,0 r; Min r,1e20 y", "node 'make y' (Min): " LIMITS},
        {"Mul x,0.001 a; Min a,1 b; Div b,0.001 y", "node 'make b' (Min): " LIMITS},
        {"Max x,-1e4 a; Mul a,0.1 b; Max a,b y", "node 'make a' (Max): " LIMITS},
        {"Max x,nan y", "node 'make y' (Max): " LIMITS},
        {"Min x,nan y", "node 'make y' (Min): " LIMITS},
        /* a bump between 20 and 22 */
        {"Sub x,20 a; Relu a b; Sub x,21 c; Relu c d; Sub x,22 e; Relu e f; Add b,f g; Add d,d h; Sub g,h i; Sub x,i y",
         "node 'make y' (Sub): " PART},
        {"Neg x a; Relu a b; Relu x c; Min b,70 d; Mul d,0.1 e; Sub c,e y", "node 'make d' (Min): " LIMITS},
        {"Relu x r; Add r,0.001 y", NULL}, /* a relu and a sum */
        /* x - (x/1000)^120 */
        {"Mul x,0.001 a; Pow a,120 b; Sub x,b y", "node 'make b' (Pow): " ALONE},
        /* sigmoid less a bump between 20.5 and 21.5 */
        {"Mul x,0.5 z; Sub z,10.25 a; Relu a b; Sub z,10.5 c; Relu c d; Sub z,10.75 e; Relu e f; Add b,f g; Add d,d h; "
         "Sub g,h i; Sigmoid x s; Sub s,i y",
         "node 'make y' (Sub): " PART},
        {"Min x,9 a; Sigmoid a y", "node 'make a' (Min): " LIMITS},
        {"Relu x r; Sigmoid x s; Mul r,s y", "node 'make y' (Mul): " PART},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        graph *g = image_graph();
        graph_nodes(g, cases[i].nodes);
        if (cases[i].message) {
            graph_refuse(g, EK_ERR_UNSUPPORTED, cases[i].message);
            continue;
        }
        ek_net_free(imported(g));
    }
    graph *g = image_graph(); /* the larger of NaN and a number, of constants */
    graph_nodes(g, "Max nan,1 c; Mul x,c y");
    graph_refuse(g, EK_ERR_NUMERIC, "node 'make y' (Mul): element 0 of 0.weight is not finite (nan)");
}

/* ---- Constants ------------------------------------------------------------------------------------------------ */

/* What the open batch would become, computed with. */
static void computes_with_the_batch(void **state)
{
    (void)state;
    static const char *const types[] = {"Mul", "Div", "Pow", "Max"};
    static const char open[] =
        "it computes with the batch's size, which is open; fix it in the file, or leave it out";
    char message[200];
    for (size_t i = 0; i < 4; i++) {
        graph *g = image_graph();
        GRAPH_INT64(g, "zero", 0);
        graph_node(g, "Shape", "x", "s");
        graph_node(g, "Gather", "s,zero", "b");
        graph_int(g, graph_node(g, "Cast", "b", "n"), "to", EK_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
        graph_node(g, types[i], "x,n", "y");
        snprintf(message, sizeof message, "node 'make n' (Cast): %s", open);
        graph_refuse(g, EK_ERR_UNSUPPORTED, message);
    }
    graph *g = image_graph(); /* a number to the power of an integer */
    GRAPH_FLOATS(g, "two", 2, 1);
    GRAPH_INT64(g, "zero", 0);
    graph_node(g, "Shape", "x", "s");
    graph_node(g, "Gather", "s,zero", "b");
    graph_node(g, "Pow", "two,b", "n");
    graph_node(g, "Mul", "x,n", "y");
    snprintf(message, sizeof message, "node 'make n' (Pow): %s", open);
    graph_refuse(g, EK_ERR_UNSUPPORTED, message);
    g = GRAPH(4, 2, 6, 6); /* where the file says it, it is a number */
    GRAPH_INT64(g, "zero", 0);
    graph_node(g, "Relu", "x", "r");
    graph_node(g, "Shape", "x", "s");
    graph_node(g, "Gather", "s,zero", "b");
    graph_int(g, graph_node(g, "Cast", "b", "n"), "to", EK_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
    graph_node(g, "Mul", "r,n", "y");
    ek_net *net = imported(g);
    assert_true(ek_net_tensor_by_name(net, "1.weight")->data[1] == 4);
    ek_net_free(net);
}

/* Constants of a shape's arithmetic. */
static void integers(void **state)
{
    (void)state;
    static const struct {
        const char *type, *inputs, *message;
    } cases[] = {
        {"Pow", "s,s", "it is not read for integers; Add, Sub, Mul, Div, Max and Min are"},
        {"Neg", "s", "it is not read for integers; Add, Sub, Mul, Div, Max and Min are"},
        {"Add", "big,big", "its integers overflow or are divided by 0, or are the batch's size, which is open"},
        {"Max", "all,all", "its integers overflow or are divided by 0, or are the batch's size, which is open"},
        {"Max", "s,s,big", "it has 3 inputs; 2 are read"},
        {"Max", "s", "it has 1 inputs; 2 are read"},
        {"Max", "s,big", NULL},
        {"Min", "big,s", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        graph *g = image_graph();
        char message[200];
        const bool larger = i == 6;
        GRAPH_INT64(g, "big", larger ? 1 : INT64_MAX);
        GRAPH_INT64(g, "open", -1);
        graph_int(g, graph_node(g, "Shape", "x", "s"), "start", 1);
        graph_node(g, "Shape", "x", "all");
        graph_node(g, cases[i].type, cases[i].inputs, "t");
        graph_int(g, graph_node(g, "Concat", "open,t", "u"), "axis", 0);
        graph_node(g, "Reshape", "x,u", "r");
        graph_node(g, "Relu", "r", "y");
        snprintf(message, sizeof message, "node 'make t' (%s): %s", cases[i].type, cases[i].message);
        if (cases[i].message) {
            graph_refuse(g, EK_ERR_UNSUPPORTED, message);
            continue;
        }
        ek_net_free(imported(g));
    }
    graph *g = image_graph();
    GRAPH_FLOATS(g, "half", 0.5f, 1);
    graph_node(g, "Shape", "x", "s");
    graph_int(g, graph_node(g, "Concat", "half,s", "u"), "axis", 0);
    graph_node(g, "Reshape", "x,u", "y");
    graph_refuse(g, EK_ERR_FORMAT, "node 'make u' (Concat): it joins integers with other numbers");
    g = image_graph(); /* a list cut at the batch */
    GRAPH_INT64(g, "zero", 0);
    graph_node(g, "Shape", "x", "s");
    graph_node(g, "Gather", "s,zero", "b");
    graph_node(g, "Slice", "s,zero,b", "c");
    graph_node(g, "Reshape", "x,c", "y");
    graph_refuse(g, EK_ERR_UNSUPPORTED, "node 'make c' (Slice): it cuts at the batch's size, which is open");
}

/* Constants that give a value more dimensions. */
static void dimensions(void **state)
{
    (void)state;
    graph *g = GRAPH(0, 4);
    GRAPH_FLOATS(g, "c", 1, 1, 1, 1, 1);
    graph_node(g, "Add", "x,c", "y");
    graph_refuse(
        g, EK_ERR_UNSUPPORTED,
        "node 'make y' (Add): its constant is [1,1,1,1], and its input 4 features: it makes values of more dimensions");
    g = image_graph();
    GRAPH_FLOATS(g, "c", 0, 1, 1, 1, 1, 1);
    graph_node(g, "Max", "c,x", "y");
    graph_refuse(g, EK_ERR_UNSUPPORTED,
                 "node 'make y' (Max): its constant is [1,1,1,1,1], and its input 2x6x6: it makes values of more "
                 "dimensions");
    g = GRAPH(0, 4);
    GRAPH_FLOATS(g, "w", SOME, 4, 3);
    GRAPH_FLOATS(g, "b", 1, 1, 1, 1);
    graph_node(g, "Gemm", "x,w,b", "y");
    graph_refuse(g, EK_ERR_SHAPE, "node 'make y' (Gemm): its bias is [1,1,1], where 3 values in 1 dimensions fit");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_in_parts),    cmocka_unit_test(nearly_activations), cmocka_unit_test(doubled),
        cmocka_unit_test(computes_with_the_batch), cmocka_unit_test(integers),           cmocka_unit_test(dimensions),
    };
    return cmocka_run_group_tests_name("onnx_arithmetic", tests, NULL, NULL);
}

#else

int main(void)
{
    puts("SKIP: this build is without ONNX");
    return 0;
}

#endif
