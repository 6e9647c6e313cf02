/* SPDX-License-Identifier: MIT
 * The net of "Dive into Deep Learning", section 8.5, in C++: built, trained with a line an epoch, saved, loaded again,
 * and asked what it takes single images for.
 *
 *     c++ -std=c++17 train_and_predict.cpp -o train_and_predict $(pkg-config --cflags --libs evenkeel)
 *     ./train_and_predict model.safetensors
 *
 * With --quick it trains on a thousand made-up images, for a second. */
#include <evenkeel.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <random>
#include <vector>

using evenkeel::dataset;
using evenkeel::net;

/* Images of noise with a bright square whose place tells the class. */
static dataset make_squares(int n)
{
    std::vector<uint8_t> pixels, labels;
    std::mt19937 random(1);
    for (int i = 0; i < n; i++) {
        labels.push_back(static_cast<uint8_t>(i % 10));
        for (int p = 0; p < 28 * 28; p++) {
            const int row = p / 28 - (2 + i % 10 / 5 * 14), column = p % 28 - i % 5 * 5;
            const bool bright = row >= 0 && row < 8 && column >= 0 && column < 8;
            pixels.push_back(static_cast<uint8_t>(bright ? 255 : random() % 64));
        }
    }
    return dataset::from_memory(n, {1, 28, 28}, pixels.data(), labels.data(), 10);
}

static net make_net()
{
    ek_net_conv2d_options conv{};
    conv.kernel = 5;
    net lenet(1, 28, 28);
    lenet.conv2d(6, conv).batchnorm().sigmoid().avgpool2d(2);
    lenet.conv2d(16, conv).batchnorm().sigmoid().avgpool2d(2).flatten();
    for (int features : {120, 84})
        lenet.linear(features).batchnorm().sigmoid();
    lenet.linear(10).init(EK_INIT_XAVIER);
    return lenet;
}

static int work(const char *path, bool quick)
{
    const dataset train = quick ? make_squares(1000) : dataset::open("fashion-mnist", EK_SPLIT_TRAIN);
    const dataset val = quick ? make_squares(200) : dataset::open("fashion-mnist", EK_SPLIT_TEST);
    ek_fit_options options{};
    options.epochs = 10;
    options.batch_size = quick ? 32 : 128;
    options.lr = 0.1f;

    net trained = make_net();
    trained.fit(train, &val, options, [](const ek_fit_event &event) {
        if (event.kind == EK_EVENT_EPOCH)
            std::cout << "epoch " << event.epoch << ": accuracy " << event.val_accuracy << "\n";
        return false; /* go on */
    });
    trained.save(path);

    net loaded = net::load(path);
    const evenkeel::predictor predictor(loaded);
    std::vector<float> probability(static_cast<size_t>(predictor.outputs()));
    int right = 0;
    for (int64_t i = 0; i < 100; i++) {
        predictor.run(1, val.pixels(i), nullptr, probability.data());
        const auto most = std::max_element(probability.begin(), probability.end());
        right += most - probability.begin() == val.label(i);
    }
    std::cout << right << " of 100 are right\n";
    return right > 70 ? 0 : 1; /* so that the example is also a test of itself */
}

int main(int argc, char **argv)
{
    const bool quick = argc > 1 && std::strcmp(argv[1], "--quick") == 0;
    const char *folder = std::getenv("TMPDIR");
    const std::string made = std::string(folder ? folder : "/tmp") + "/train_and_predict.safetensors";
    if (argc < 2) {
        std::cerr << "usage: train_and_predict MODEL\n";
        return 2;
    }
    try {
        const int status = work(quick ? made.c_str() : argv[1], quick);
        if (quick)
            std::remove(made.c_str());
        return status;
    } catch (const evenkeel::error &failure) {
        std::cerr << failure.what() << "\n";
        return 1;
    }
}
