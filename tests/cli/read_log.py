#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Reads logs of runs for tests/cli/log.sh.

    read_log.py check LOG            silent when every line but torn ones is a record with its fields
    read_log.py events LOG           "start step:50 ... end" in the file's order
    read_log.py sums LOG             silent when each epoch's steps make its totals
    read_log.py table LOG OUT        silent when the epochs are the table's that the command printed
    read_log.py get LOG KEY...       values of the first run's start; last LOG KEY: of the last record
    read_log.py runs LOG             how many runs
    read_log.py schema SCHEMA LOG    silent when the schema accepts every record
    read_log.py signal NAME COMMAND  runs the command, sends the signal when it has been at it, prints how it ended
"""
import json
import signal
import subprocess
import sys
import time

FIELDS = {
    "start": {"format", "time", "version", "instruction_set", "threads", "processors", "log_every", "checkpoints",
              "config", "data", "net"},
    "step": {"seconds", "epoch", "step", "samples", "loss", "accuracy", "lr", "gradient_norm", "images_per_second"},
    "epoch": {"seconds", "epoch", "step", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_loss_moving",
              "val_accuracy_moving", "lr",
              "train_seconds", "val_seconds", "images_per_second"},
    "skipped": {"seconds", "epoch", "step", "samples", "in_row", "layer", "channel", "sample", "message"},
    "resume": {"seconds", "epochs", "step", "checkpoint", "continues"},
    "end": {"seconds", "reason", "message", "epochs", "best_epoch", "model"},
}


def no_constant(word):
    raise ValueError(f"{word} is not JSON")


def read(path):
    """Records in order; None for a line that is none."""
    records = []
    with open(path, "rb") as file:
        for line in file:
            try:
                records.append(json.loads(line.decode(), parse_constant=no_constant))
            except ValueError:
                records.append(None)
    return records


def is_near(a, b):
    return abs(a - b) <= 1e-12 * max(abs(a), abs(b))


def check(records):
    if not any(records):
        yield "no record"
    for r in filter(None, records):
        if set(r) != FIELDS.get(r.get("event"), set()) | {"event", "run"}:
            yield f"fields of {r}"
        if r["event"] == "step" and not (r["gradient_norm"] > 0 and r["images_per_second"] > 0 and r["lr"] > 0):
            yield f"nothing moves in {r}"


def sums(records):
    samples = loss = right = 0
    for r in records:
        if r["event"] == "step":
            samples += r["samples"]
            loss += r["samples"] * r["loss"]
            right += r["samples"] * r["accuracy"]
        if r["event"] == "epoch":
            if not (is_near(loss / samples, r["train_loss"]) and is_near(right / samples, r["train_accuracy"])):
                yield f"{loss / samples} {right / samples} in place of {r}"
            samples = loss = right = 0


def table(records, path):
    rows = [line.split() for line in open(path) if line.split()[:1] and line.split()[0].isdigit()]
    epochs = [r for r in records if r["event"] == "epoch"]
    if not epochs or len(epochs) != len(rows):
        yield f"{len(epochs)} epochs of {len(rows)} rows"
    for e, row in zip(epochs, rows):
        told = [e["train_loss"], e["train_accuracy"], e["val_loss"], e["val_accuracy"]]
        if [f"{value:.4f}" for value in told] != row[1:5] or int(row[0]) != e["epoch"]:
            yield f"{row} in place of {e}"


def validate(schema, path):
    import jsonschema
    validator = jsonschema.Draft202012Validator(json.load(open(schema)))
    validator.check_schema(validator.schema)
    for r in read(path):
        for error in validator.iter_errors(r):
            yield f"{error.message[:300]}"
    last = read(path)[-1]
    for wrong in ({}, {"event": "end"}, {**last, "surplus": 1}, {**last, "seconds": "1"}):
        if validator.is_valid(wrong):
            yield f"the schema accepts {wrong}"


def value_at(record, key):
    for word in key.split("."):
        record = record[word]
    return record


def send(name, command):
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=lambda: signal.signal(signal.SIGINT,
                                                                                                   signal.SIG_DFL))
    time.sleep(0.7)
    process.send_signal(getattr(signal, "SIG" + name))
    status = process.wait(60)
    print("-" + signal.Signals(-status).name if status < 0 else status)


def main():
    what, *words = sys.argv[1:]
    if what == "signal":
        send(words[0], words[1:])
        return
    if what == "schema":
        print("\n".join(validate(*words)), end="")
        return
    records = read(words[0])
    if what == "events":
        print(*("torn" if r is None else r["event"] + (f":{r['step']}" if "step" in r else "") for r in records))
    elif what == "runs":
        print(len({r["run"] for r in records if r}))
    elif what == "get":
        print(*(value_at(records[0], key) for key in words[1:]))
    elif what == "last":
        print(value_at(records[-1], words[1]))
    else:
        faults = {"check": check, "sums": sums}[what](records) if what != "table" else table(records, words[1])
        print("\n".join(faults), end="")


if __name__ == "__main__":
    main()
