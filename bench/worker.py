# SPDX-License-Identifier: MIT
"""What a worker in Python says and hears; README.md has the words."""

import sys
import time


def serve(run, *ready):
    """Announces (WORK UNIT [BYTES]); then runs so many steps for each line "go N", and prints the seconds they took."""
    print("ready", *ready, flush=True)
    for line in sys.stdin:
        word, steps = line.split()
        assert word == "go"
        start = time.perf_counter()
        run(int(steps))
        print(f"{time.perf_counter() - start:.6f}", flush=True)
