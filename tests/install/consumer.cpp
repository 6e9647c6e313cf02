/* SPDX-License-Identifier: MIT
 * A program of somebody else's in C++17: owners move and do not copy, failures are exceptions that tell what the C
 * functions tell, and what a callback throws comes out. */
#include <evenkeel.hpp>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <type_traits>
#include <vector>

using namespace evenkeel;

static_assert(!std::is_copy_constructible<net>::value && !std::is_copy_assignable<net>::value, "no hidden copies");
static_assert(std::is_nothrow_move_constructible<net>::value && std::is_nothrow_move_assignable<dataset>::value, "");
static_assert(!std::is_copy_constructible<predictor>::value && !std::is_copy_constructible<probe>::value, "");
static_assert(sizeof(net) == sizeof(ek_net *), "thin");
static_assert(std::is_constructible<predictor, net>::value && std::is_constructible<predictor, ek_predictor *>::value,
              "");
static_assert(std::is_constructible<probe, net, const dataset &>::value &&
                  std::is_constructible<probe, ek_probe *>::value,
              "");

/* Whether a const data set can be divided, which others may be reading: it must not be. */
template <typename T, typename = void> struct divides : std::false_type {
};
template <typename T> struct divides<T, decltype(void(std::declval<T &>().split(0.5)))> : std::true_type {
};
static_assert(divides<dataset>::value && !divides<const dataset>::value, "a split changes the whole");

static int failures;

static void that(bool holds, const char *what)
{
    if (!holds) {
        std::printf("not so: %s\n", what);
        failures++;
    }
}

/* Whether it throws an error of this status that speaks of `word`. */
template <typename F> static bool refuses(F &&call, ek_status status, const char *word)
{
    try {
        call();
    } catch (const error &failure) {
        return failure.status() == status && std::strstr(failure.what(), word);
    }
    return false;
}

int main(int argc, char **argv)
{
    that(argc == 2 && !std::strcmp(ek_version(), argv[1]), "the version");
    std::vector<uint8_t> pixels(64 * 16), labels(64);
    for (size_t i = 0; i < pixels.size(); i++)
        pixels[i] = static_cast<uint8_t>(i * 37 % 251);
    for (size_t i = 0; i < labels.size(); i++)
        labels[i] = static_cast<uint8_t>(i % 3);
    dataset data = dataset::from_memory(64, {1, 4, 4}, pixels.data(), labels.data(), 3);
    that(data.info().count == 64 && data.label(5) == 2 && data.pixels(1)[0] == pixels[16], "a data set");
    std::pair<dataset, dataset> parts = data.split(0.25);
    that(parts.first.info().count == 48 && parts.second.info().count == 16, "a split");

    net small(1, 4, 4);
    small.conv2d(4).batchnorm().relu().globalavgpool().flatten().linear(3).init(EK_INIT_HE, 7);
    that(small.layer_count() == 6 && !std::strcmp(small.layer(1).kind, "batchnorm"), "layers");
    that(net::parse(small.text()).text() == small.text(), "text and back");
    ek_net *const raw = small.get();
    net moved = std::move(small);
    that(moved.get() == raw && !small.get(), "moving hands over"); /* NOLINT: looks at what was moved from */
    that(moved.tensor("0.weight").count == 4, "a tensor");

    ek_fit_options options{};
    options.epochs = 2;
    options.batch_size = 16;
    int epochs = 0;
    moved.fit(data, &data, options, [&](const ek_fit_event &event) {
        epochs += event.kind == EK_EVENT_EPOCH;
        return false;
    });
    that(epochs == 2 && moved.evaluate(data).count == 64, "training");
    that(refuses([&] { moved.fit(data, nullptr, options, [](const ek_fit_event &) { return true; }); },
                 EK_ERR_STOPPED, "stop"),
         "a callback stops");
    bool thrown = false;
    try {
        moved.fit(data, nullptr, options, [](const ek_fit_event &) -> bool { throw 42; });
    } catch (int what) {
        thrown = what == 42;
    }
    that(thrown, "what a callback throws comes out");

    float logits[3], again[3], probabilities[3], x[16];
    for (int i = 0; i < 16; i++)
        x[i] = static_cast<float>(pixels[static_cast<size_t>(i)]) / 255.0f;
    const net &shared = moved; /* which several threads may use at once */
    shared.predict(1, x, logits);
    that(shared.evaluate(data).count == 64, "evaluation of what is const");
    const predictor ready(shared);
    ready.run(1, x, again, probabilities);
    that(ready.outputs() == 3 && !std::memcmp(logits, again, sizeof logits), "a predictor");
    int channels = 0;
    const probe measured(moved, data);
    that(probe(net::parse(moved.text()).init(EK_INIT_HE), data).samples() == 64, "a probe of a temporary");
    that(measured.samples() == 64 && measured.layer(0, channels) && channels == 4, "a probe");

    ek_fold folds[6];
    predictor folded(moved.fold(folds)); /* of a temporary */
    folded.run(1, x, again);
    that(folds[1].outcome == EK_FOLD_DONE && std::fabs(again[0] - logits[0]) < 1e-4f, "folding");
    predictor adopted(folded.release());
    that(adopted.outputs() == 3, "an object of C is taken over");
    moved.export_c("small");
    that(std::remove("small.c") == 0 && std::remove("small.h") == 0, "export as C");
    that(moved.pytorch_text().find("def build") != std::string::npos, "export to PyTorch");
    try {
        moved.export_onnx("small.onnx");
        that(net::import_onnx("small.onnx").layer_count() == 5, "to ONNX and back, folded");
    } catch (const error &failure) {
        that(failure.status() == EK_ERR_UNSUPPORTED && std::strstr(failure.what(), "protobuf"), "no ONNX here");
    }
    std::remove("small.onnx");

    that(refuses([] { net::builtin("le-net"); }, EK_ERR_ARGUMENT, "le-net"), "an unknown net");
    that(refuses([] { net::load("nowhere.safetensors"); }, EK_ERR_NOT_FOUND, "nowhere"), "an absent file");
    that(refuses([] { net(0, 4, 4); }, EK_ERR_ARGUMENT, "0"), "no channels");
    that(refuses([] { net(1, 4, 4).conv2d(0); }, EK_ERR_ARGUMENT, "conv2d"), "a convolution to nothing");
    that(refuses([] { net(1, 4, 4).linear(3); }, EK_ERR_SHAPE, "linear"), "a layer that does not fit");
    that(refuses([&] { moved.tensor("9.weight"); }, EK_ERR_NOT_FOUND, "9.weight"), "an unknown tensor");
    return failures ? 1 : 0;
}
