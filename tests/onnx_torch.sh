#!/bin/sh
# SPDX-License-Identifier: MIT
# PyTorch's own exporter against the importer, where there is a Python with torch and onnx: $EVENKEEL_PYTHON or another.
for python in ${EVENKEEL_PYTHON-} python3 /usr/bin/python3; do
    if "$python" -c 'import importlib.util as u; exit(not (u.find_spec("torch") and u.find_spec("onnx")))' 2>/dev/null; then
        "$python" -W ignore "$ROOT/tests/onnx_torch.py" "$BUILD/libevenkeel.so" 2>"$TMPDIR/err" && exit 0
        cat "$TMPDIR/err"
        exit 1
    fi
done
echo "SKIP: no Python with torch and onnx: PyTorch's exporter is not run (its files in tests/golden are read)"
