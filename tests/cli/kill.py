#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Kills a training at random moments and goes on with it until it has ended, again and again.

    kill.py KILLS DIR COMMAND...

COMMAND is a whole `evenkeel train` that writes DIR/model.safetensors; --checkpoint or --resume, --every and --threads
are added.
Every finished model must be the reference's, to the byte. Prints a line `ok` or `not ok`."""
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time


def run_once(command, rng, longest):
    """Starts the command and kills it after a random time, sometimes while a temporary file is there; its status."""
    kept = pathlib.Path("kept")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    begin, wait = time.monotonic(), rng.uniform(0, longest)
    in_writing = rng.random() < 0.5
    caught = False
    while process.poll() is None:
        late = time.monotonic() - begin > wait
        caught = in_writing and late and any(kept.glob("*.tmp-*")) if kept.exists() else False
        if caught or (late and not in_writing) or time.monotonic() - begin > wait + longest / 2:
            break
        time.sleep(0 if in_writing and late else 0.0005)
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    errors = process.communicate()[1].decode()
    return process.returncode, errors, bool(caught)


def main():
    kills_wanted, folder, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    rng = random.Random(4)
    begin = time.monotonic()
    subprocess.run(command + ["--threads", "1"], check=True, stdout=subprocess.DEVNULL)
    longest = time.monotonic() - begin
    model = pathlib.Path(folder, "model.safetensors")
    wanted = model.read_bytes()
    kills = finished = in_writing = torn = run = 0
    while kills < kills_wanted or run:
        if run == 0:
            shutil.rmtree("kept", ignore_errors=True)
            model.unlink(missing_ok=True)
        have = any(pathlib.Path("kept").glob("checkpoint-*.safetensors"))
        go_on = ["--resume", "kept"] if have else ["--checkpoint", "kept"]
        # The first runs of a training are killed; the fifth may end.
        limit = longest if run < 4 else 1e9
        status, errors, caught = run_once(command + go_on + ["--every", "1", "--threads", str(1 + run % 2)], rng, limit)
        run += 1
        if status == -signal.SIGKILL:
            kills += 1
            in_writing += caught
            torn += any(pathlib.Path("kept").glob("*.tmp-*"))
        elif status != 0 or errors:
            print(f"not ok killed and gone on with: status {status}: {errors}")
            return 1
        else:
            finished += 1
            run = 0
            if model.read_bytes() != wanted:
                print(f"not ok killed and gone on with: another model after {kills} kills")
                return 1
            if any(pathlib.Path("kept").glob("*.tmp-*")):
                print("not ok killed and gone on with: a temporary file stays")
                return 1
    print(f"ok {kills} kills ({in_writing} while a file was written, {torn} left half of one), "
          f"{finished} trainings, each the same model")
    return 0


if __name__ == "__main__":
    sys.exit(main())
