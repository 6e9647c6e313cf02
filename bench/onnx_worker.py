#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ONNX Runtime's side of bench/predict.py: an ONNX file on random images, driven as README.md describes.

    onnx_worker.py FILE --threads 1 --batch 1

All of its graph optimisations are on. Input and output are bound once, which spares it copies and look-ups at each
call.
"""

import argparse

from worker import serve


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args()

    import numpy
    import onnxruntime
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(options.file, settings, providers=["CPUExecutionProvider"])
    entry, result = session.get_inputs()[0], session.get_outputs()[0]
    shape = [options.batch, *entry.shape[1:]]
    images = [onnxruntime.OrtValue.ortvalue_from_numpy(numpy.random.rand(*shape).astype(numpy.float32))
              for _ in range(max(1, 64 // options.batch))]
    output = onnxruntime.OrtValue.ortvalue_from_numpy(
        session.run(None, {entry.name: images[0].numpy()})[0])
    bindings = []
    for image in images:
        binding = session.io_binding()
        binding.bind_ortvalue_input(entry.name, image)
        binding.bind_ortvalue_output(result.name, output)
        bindings.append(binding)
    state = {"next": 0}

    def run(steps):
        for _ in range(steps):
            session.run_with_iobinding(bindings[state["next"]])
            state["next"] = (state["next"] + 1) % len(bindings)

    run(20)
    serve(run, options.batch, "image")


if __name__ == "__main__":
    main()
