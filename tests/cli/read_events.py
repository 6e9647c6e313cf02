#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Reads event files for tests/cli/tensorboard.sh; silent when all is well.

    read_events.py own LOG DIR      records of the first event file of DIR, by a reader of its own, against LOG
    read_events.py theirs LOG DIR   the same by TensorBoard's reader
    read_events.py whole DIR        records of every event file: whole, with the right sums
    read_events.py first DIR        prints the step with which each event file begins
"""
import json
import math
import pathlib
import struct
import sys

NORMS = {1: 6, 5: 16, 10: 120, 13: 84}  # bn-lenet's batch norms: layer, channels
ROLES = ("gamma", "beta", "moving_mean", "moving_var")


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82f63b78 if crc & 1 else crc >> 1
    return crc ^ 0xffffffff


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xa282ead8) & 0xffffffff


def records(path):
    data = path.read_bytes()
    while data:
        size, = struct.unpack("<Q", data[:8])
        assert masked(data[:8]) == struct.unpack("<I", data[8:12])[0], "the sum of a length"
        record = data[12:12 + size]
        assert len(data) >= 16 + size, "half a record"
        assert masked(record) == struct.unpack("<I", data[12 + size:16 + size])[0], "the sum of a record"
        yield record
        data = data[16 + size:]


def fields(data):
    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            value |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if byte < 128:
                return value

    at = 0
    while at < len(data):
        key = varint()
        if key & 7 == 0:
            value = varint()
        else:
            size = {1: 8, 2: None, 5: 4}[key & 7]
            size = varint() if size is None else size
            value, at = data[at:at + size], at + size
            assert len(value) == size
        yield key >> 3, value


def own_values(path):
    """(tag, step, scalar or histogram as (min, max, num))"""
    for number, record in enumerate(records(path)):
        event = dict(fields(record))
        assert 1 in event and (event.get(3) == b"brain.Event:2") == (number == 0)
        for _, value in fields(event.get(5, b"")):
            value = dict(fields(value))
            if 2 in value:
                yield value[1].decode(), event[2], struct.unpack("<f", value[2])[0]
            else:
                histogram = dict(fields(value[5]))
                yield value[1].decode(), event[2], tuple(struct.unpack("<d", histogram[i])[0] for i in (1, 2, 3))


def their_values(path):
    from tensorboard import data_compat
    from tensorboard.backend.event_processing import event_file_loader
    from tensorboard.util import tensor_util
    for number, event in enumerate(event_file_loader.LegacyEventFileLoader(str(path)).Load()):
        assert event.wall_time > 1e9 and (event.file_version == "brain.Event:2") == (number == 0)
        for old, value in zip(event.summary.value, data_compat.migrate_event(event).summary.value):
            array = tensor_util.make_ndarray(value.tensor)
            if value.metadata.plugin_data.plugin_name == "scalars":
                yield value.tag, event.step, float(array)
            else:
                assert value.metadata.plugin_data.plugin_name == "histograms" and array.shape[1] == 3
                assert math.isclose(array[:, 2].sum(), old.histo.num) and (array[1:, 0] == array[:-1, 1]).all()
                yield value.tag, event.step, (old.histo.min, old.histo.max, old.histo.num)


def accumulated(path):
    """What TensorBoard itself would list, scalars and histograms, by the reader behind its pages."""
    from tensorboard.backend.event_processing import event_accumulator
    accumulator = event_accumulator.EventAccumulator(str(path), size_guidance={"scalars": 0, "histograms": 0})
    accumulator.Reload()
    tags = accumulator.Tags()
    return {"scalars": set(tags["scalars"]), "histograms": set(tags["histograms"])}


def compare(values, log):
    scalars, histograms = {}, {}
    for tag, step, value in values:
        (histograms if isinstance(value, tuple) else scalars)[tag, step] = value
    wanted = {}
    for line in open(log):
        r = json.loads(line)
        names = {"step": {"loss/step": "loss", "accuracy/step": "accuracy", "lr": "lr",
                          "gradient_norm": "gradient_norm", "images_per_second": "images_per_second"},
                 "epoch": {"loss/train": "train_loss", "accuracy/train": "train_accuracy", "loss/val": "val_loss",
                           "accuracy/val": "val_accuracy", "epoch": "epoch"}}.get(r["event"], {})
        for tag, key in names.items():
            wanted[tag, r["step"]] = struct.unpack("<f", struct.pack("<f", r[key]))[0]
    if scalars != wanted or not wanted:
        yield f"scalars {sorted(scalars.items())}\nin place of {sorted(wanted.items())}"
    steps = {0} | {step for tag, step in wanted if tag == "epoch"}
    expected = {(f"{layer}.batchnorm/{role}", step): channels for layer, channels in NORMS.items() for role in ROLES
                for step in steps}
    if {key: value[2] for key, value in histograms.items()} != expected:
        yield f"histograms {sorted(histograms.items())}"
    for layer in NORMS:
        if histograms[f"{layer}.batchnorm/gamma", 0][:2] != (1, 1):
            yield "gamma does not start at one"
        if histograms[f"{layer}.batchnorm/gamma", max(steps)][0] == 1:
            yield "gamma has not moved"


def main():
    what, *words = sys.argv[1:]
    files = sorted(pathlib.Path(words[-1]).glob("*tfevents*"))
    if what == "whole":
        if sum(len(list(records(file))) for file in files) < 3:
            print("hardly a record")
        return
    if what == "first":
        print(*sorted(next(own_values(file))[1] for file in files))
        return
    faults = list(compare((own_values if what == "own" else their_values)(files[0]), words[0]))
    if what == "theirs":
        listed = accumulated(files[0])
        if len(listed["scalars"]) != 10 or len(listed["histograms"]) != len(NORMS) * len(ROLES):
            faults.append(f"TensorBoard lists {listed}")
    print("\n".join(faults), end="")


if __name__ == "__main__":
    main()
