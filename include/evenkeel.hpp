/* SPDX-License-Identifier: MIT
 *
 * evenkeel.hpp - evenkeel.h for C++17: owners that free what they hold, and exceptions in place of statuses.
 *
 *     using namespace evenkeel;
 *     auto train = dataset::open("fashion-mnist", EK_SPLIT_TRAIN);
 *     auto val = dataset::open("fashion-mnist", EK_SPLIT_TEST);
 *     net lenet = net::builtin("bn-lenet");
 *     ek_fit_options options{};
 *     options.epochs = 10;
 *     lenet.fit(train, val, options);
 *     lenet.save("model.safetensors");
 *
 * It is thin: a member calls the function of the same name in evenkeel.h, which is the reference, and throws `error`
 * where that fails. Options are the structs of C, whose zero ({}) means the defaults. Nothing is copied behind your
 * back: owners move and do not copy, arrays stay pointers, and what evenkeel.h has and this has not takes get():
 * check(ek_net_set_note(lenet.get(), "author", "me")). An owner that was moved from may be assigned to and destroyed,
 * and nothing else. Threads: as evenkeel.h says of the objects; what several threads may do with one object at once is
 * const, but the reverse does not hold of accessors such as info(), which others must not change meanwhile. */
#ifndef EVENKEEL_HPP
#define EVENKEEL_HPP

#include "evenkeel.h"

#include <cstdlib>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

namespace evenkeel {

/* What failed, where, and what to do: ek_error() of the thread that threw it. */
class error : public std::runtime_error {
  public:
    explicit error(ek_status status) : std::runtime_error(ek_error()), status_(status)
    {
    }
    /* Where the function in C gives NULL in place of a status: EK_ERR_ARGUMENT. */
    ek_status status() const noexcept
    {
        return status_;
    }

  private:
    ek_status status_;
};

inline void check(ek_status status)
{
    if (status != EK_OK)
        throw error(status);
}

/* The owner of an object of the library. */
template <typename T, void (*free_it)(T *)> class owner {
  public:
    /* Takes it over; NULL is the failure of the call that made it. */
    explicit owner(T *object) : object_(object)
    {
        if (!object)
            throw error(EK_ERR_ARGUMENT);
    }
    T *get() const noexcept
    {
        return object_.get();
    }
    /* Gives it up: the caller frees it. */
    T *release() noexcept
    {
        return object_.release();
    }

  private:
    struct deleter {
        void operator()(T *object) const noexcept
        {
            free_it(object);
        }
    };
    std::unique_ptr<T, deleter> object_;
};

/* A text that is the caller's to free. */
inline std::string take_text(char *text)
{
    if (!text)
        throw error(EK_ERR_ARGUMENT);
    const std::unique_ptr<char, void (*)(void *)> held(text, std::free);
    return held.get();
}

/* A sample's extents. */
struct extents {
    int channels, height, width;
};

class dataset : public owner<ek_dataset, ek_dataset_free> {
  public:
    using owner::owner;

    static dataset open(const std::string &name_or_dir, const ek_data_options &options = {})
    {
        ek_dataset *made = nullptr;
        check(ek_dataset_open_with(&made, name_or_dir.c_str(), &options));
        return dataset(made);
    }
    static dataset open(const std::string &name_or_dir, ek_split split)
    {
        ek_data_options options{};
        options.split = split;
        return open(name_or_dir, options);
    }
    /* Copies pixels [n,C,H,W] and labels [n]. */
    static dataset from_memory(int64_t n, extents shape, const uint8_t *pixels, const uint8_t *labels, int classes)
    {
        ek_dataset *made = nullptr;
        check(ek_dataset_from_memory(&made, n, shape.channels, shape.height, shape.width, pixels, labels, classes));
        return dataset(made);
    }

    ek_dataset_info info() const
    {
        ek_dataset_info info{};
        ek_dataset_get_info(get(), &info);
        return info;
    }
    const uint8_t *pixels(int64_t i) const noexcept
    {
        return ek_dataset_pixels(get(), i);
    }
    int label(int64_t i) const noexcept
    {
        return ek_dataset_label(get(), i);
    }
    const char *label_text(int label) const noexcept
    {
        return ek_dataset_label_text(get(), label);
    }
    void read(int64_t i, uint8_t *pixels) const
    {
        check(ek_dataset_read(get(), i, pixels));
    }
    /* The rest, and the part of it that `share` says. */
    std::pair<dataset, dataset> split(double share, uint64_t seed = 0)
    {
        ek_dataset *rest = nullptr, *part = nullptr;
        check(ek_dataset_split(get(), share, seed, &rest, &part));
        return {dataset(rest), dataset(part)};
    }
};

/* Builders throw at once, and give the net, so that calls chain. */
class net : public owner<ek_net, ek_net_free> {
  public:
    using owner::owner;

    net(int channels, int height, int width) : owner(ek_net_new(channels, height, width))
    {
        check(ek_net_input(get(), nullptr, nullptr, nullptr)); /* what marks it */
    }
    /* Extents and classes of 0 stand for the net's own. */
    static net builtin(const std::string &name, extents shape = {}, int classes = 0)
    {
        return net(ek_net_builtin_for(name.c_str(), shape.channels, shape.height, shape.width, classes));
    }
    static net parse(const std::string &text, const std::string &name = "net")
    {
        return net(ek_net_parse(text.c_str(), name.c_str()));
    }
    static net load(const std::string &path)
    {
        ek_net *made = nullptr;
        check(ek_net_load(&made, path.c_str()));
        return net(made);
    }

    /* clang-format off */
    net &conv2d(int out_channels, const ek_net_conv2d_options &options = {})
    { return then(ek_net_conv2d(get(), out_channels, &options)); }
    net &linear(int out_features, const ek_net_linear_options &options = {})
    { return then(ek_net_linear(get(), out_features, &options)); }
    net &batchnorm(const ek_net_batchnorm_options &options = {}) { return then(ek_net_batchnorm(get(), &options)); }
    net &layernorm(const ek_net_layernorm_options &options = {}) { return then(ek_net_layernorm(get(), &options)); }
    net &relu() { return then(ek_net_relu(get())); }
    net &leaky_relu(float negative_slope = 0.01f) { return then(ek_net_leaky_relu(get(), negative_slope)); }
    net &sigmoid() { return then(ek_net_sigmoid(get())); }
    net &tanh() { return then(ek_net_tanh(get())); }
    net &gelu(ek_gelu how = EK_GELU_EXACT) { return then(ek_net_gelu(get(), how)); }
    net &maxpool2d(int kernel, int stride = 0, int padding = 0)
    { return then(ek_net_maxpool2d(get(), kernel, stride, padding)); }
    net &avgpool2d(int kernel, int stride = 0) { return then(ek_net_avgpool2d(get(), kernel, stride)); }
    net &pool2d(ek_pooling how, const ek_net_pool2d_options &options)
    { return then(ek_net_pool2d(get(), how, &options)); }
    net &globalavgpool() { return then(ek_net_globalavgpool(get())); }
    net &flatten() { return then(ek_net_flatten(get())); }
    net &dropout(float p) { return then(ek_net_dropout(get(), p)); }
    net &residual_begin(const ek_net_residual_options &options = {})
    { return then(ek_net_residual_begin(get(), &options)); }
    net &shortcut() { return then(ek_net_shortcut(get())); }
    net &concat_begin() { return then(ek_net_concat_begin(get())); }
    net &branch() { return then(ek_net_branch(get())); }
    net &block_end() { return then(ek_net_block_end(get())); }
    /* clang-format on */

    net &init(ek_init how, uint64_t seed = 0)
    {
        return then(ek_net_init(get(), how, seed));
    }
    net &load_weights(const std::string &path)
    {
        return then(ek_net_load_weights(get(), path.c_str()));
    }
    void save(const std::string &path)
    {
        check(ek_net_save(get(), path.c_str()));
    }
    std::string text() const
    {
        return take_text(ek_net_text(get()));
    }
    extents input() const
    {
        extents shape{};
        check(ek_net_input(get(), &shape.channels, &shape.height, &shape.width));
        return shape;
    }
    int layer_count() const noexcept
    {
        return ek_net_layer_count(get());
    }
    ek_layer_info layer(int i) const
    {
        ek_layer_info info{};
        check(ek_net_layer(get(), i, &info));
        return info;
    }
    /* A row of the table of tensors, the net's: its data are there to read or change. */
    const ek_tensor &tensor(const std::string &name)
    {
        const ek_tensor *row = ek_net_tensor_by_name(get(), name.c_str());
        if (!row)
            throw error(EK_ERR_NOT_FOUND);
        return *row;
    }

    void fit(const dataset &train, const ek_fit_options &options = {})
    {
        check(ek_fit(get(), train.get(), nullptr, &options));
    }
    void fit(const dataset &train, const dataset &val, const ek_fit_options &options = {})
    {
        check(ek_fit(get(), train.get(), val.get(), &options));
    }
    /* on_event(const ek_fit_event &) takes the place of the options': true stops, which throws EK_ERR_STOPPED. What it
     * throws stops, too, and comes out of here. */
    template <typename F> void fit(const dataset &train, const dataset *val, ek_fit_options options, F &&on_event)
    {
        struct listener {
            F &hear;
            std::exception_ptr thrown;
            static int call(void *user, const ek_fit_event *event) noexcept
            {
                listener &self = *static_cast<listener *>(user);
                try {
                    return self.hear(*event) ? 1 : 0;
                } catch (...) {
                    self.thrown = std::current_exception();
                    return 1;
                }
            }
        };
        listener listening{on_event, nullptr};
        options.on_event = listener::call;
        options.user = &listening;
        const ek_status status = ek_fit(get(), train.get(), val ? val->get() : nullptr, &options);
        if (listening.thrown)
            std::rethrow_exception(listening.thrown);
        check(status);
    }
    /* This and predict: by several threads at once, as soon as the net's tensors exist (init, load, tensor). */
    ek_metrics evaluate(const dataset &data, const ek_eval_options &options = {}) const
    {
        ek_metrics metrics{};
        check(ek_evaluate(get(), data.get(), &options, &metrics));
        return metrics;
    }
    void calibrate(const dataset &data, const ek_calibrate_options &options = {})
    {
        check(ek_calibrate(get(), data.get(), &options));
    }
    /* x [n,C,H,W], logits [n,K]. */
    void predict(int64_t n, const float *x, float *logits, int threads = 0) const
    {
        check(ek_predict(get(), n, x, threads, logits));
    }

    /* folds: [layer_count()], or NULL. */
    net fold(ek_fold *folds = nullptr)
    {
        ek_net *made = nullptr;
        check(ek_net_fold(&made, get(), folds));
        return net(made);
    }
    static net import_onnx(const std::string &path, const ek_import_onnx_options &options = {})
    {
        ek_net *made = nullptr;
        check(ek_import_onnx(&made, path.c_str(), &options));
        return net(made);
    }
    void export_onnx(const std::string &path, const ek_onnx_options &options = {})
    {
        check(ek_export_onnx(get(), path.c_str(), &options));
    }
    void export_c(const std::string &path, const ek_export_c_options &options = {})
    {
        check(ek_export_c(get(), path.c_str(), &options));
    }
    std::string pytorch_text() const
    {
        return take_text(ek_net_pytorch_text(get()));
    }

  private:
    net &then(ek_status status)
    {
        check(status);
        return *this;
    }
};

class predictor : public owner<ek_predictor, ek_predictor_free> {
  public:
    using owner::owner;

    explicit predictor(const net &of, const ek_predictor_options &options = {}) : owner(make(of, options))
    {
    }
    extents input() const
    {
        extents shape{};
        ek_predictor_shape(get(), &shape.channels, &shape.height, &shape.width, nullptr, nullptr);
        return shape;
    }
    int64_t outputs() const
    {
        int64_t outputs = 0;
        ek_predictor_shape(get(), nullptr, nullptr, nullptr, &outputs, nullptr);
        return outputs;
    }
    /* x or pixels [n,C,H,W]; logits and probabilities [n, outputs()], either may be NULL. */
    void run(int64_t n, const float *x, float *logits, float *probabilities = nullptr) const
    {
        check(ek_predictor_run(get(), n, x, logits, probabilities));
    }
    void run(int64_t n, const uint8_t *pixels, float *logits, float *probabilities = nullptr) const
    {
        check(ek_predictor_run_bytes(get(), n, pixels, logits, probabilities));
    }

  private:
    static ek_predictor *make(const net &of, const ek_predictor_options &options)
    {
        ek_predictor *made = nullptr;
        check(ek_predictor_new(&made, of.get(), &options));
        return made;
    }
};

class probe : public owner<ek_probe, ek_probe_free> {
  public:
    using owner::owner;

    probe(const net &of, const dataset &data, const ek_probe_options &options = {}) : owner(make(of, data, options))
    {
    }
    int64_t samples() const noexcept
    {
        return ek_probe_samples(get());
    }
    const ek_channel_stats *layer(int i, int &channels) const noexcept
    {
        return ek_probe_layer(get(), i, &channels);
    }

  private:
    static ek_probe *make(const net &of, const dataset &data, const ek_probe_options &options)
    {
        ek_probe *made = nullptr;
        check(ek_probe_new(&made, of.get(), data.get(), &options));
        return made;
    }
};

} // namespace evenkeel

#endif
