#!/bin/sh
# SPDX-License-Identifier: MIT
# The kernels on processors that are not here: the programs of tests/kernels on an emulated aarch64, on an emulated
# x86-64 without AVX; and that the training steps of tests/kernels/bits.c end in the same bits wherever there is fused
# multiply-add: on each instruction set of this processor and on ARM's. (All other programs of tests/kernels go
# through this processor's sets by themselves, and at their full length.)
set -eu
arm=$BUILD/aarch64
bits="$TMPDIR/bits"
: >"$bits"

run_all() # LABEL FOLDER/PATTERN COMMAND...: every such program, each its own case
{
    label=$1 programs=$2
    shift 2
    for program in $programs; do
        [ -f "$program" ] && [ -x "$program" ] || continue
        name="${program##*/} on $label"
        if EVENKEEL_TEST_QUICK=1 "$@" "$program" >"$TMPDIR/log" 2>&1 && ! grep -q '^not ok' "$TMPDIR/log"; then
            echo "ok $name"
        else
            echo "not ok $name"
            tail -n 40 "$TMPDIR/log" | sed 's/^/# /'
        fi
        if [ "${program##*/}" = bits ]; then
            echo "$label: $(sed -n 's/^bits //p' "$TMPDIR/log")" >>"$bits"
        fi
    done
}

case "$(uname -m)" in
x86_64)
    for set in baseline avx2 avx512; do
        case $set in
        avx2) flags='avx2 fma' ;;
        avx512) flags='avx512f avx512dq avx512vl avx512bw' ;;
        *) flags= ;;
        esac
        missing=
        for flag in $flags; do
            grep -qw "$flag" /proc/cpuinfo || missing="$missing $flag"
        done
        if [ "$missing" ]; then
            echo "SKIP: $set cannot run here: this processor lacks$missing"
        else
            run_all "$set" "$BUILD/tests/kernels/bits" env EVENKEEL_CPU=$set
        fi
    done
    # All programs run the baseline's kernels by themselves; here it is seen that an old processor can, too.
    old="$BUILD/tests/kernels/bits $BUILD/tests/kernels/test_blocked $BUILD/tests/kernels/test_plain_norm"
    if command -v qemu-x86_64 >/dev/null; then
        run_all "an x86-64 without AVX (qemu)" "$old" env -u EVENKEEL_CPU qemu-x86_64 -cpu qemu64
    else
        echo "SKIP: qemu-x86_64 (package qemu-user) is not installed: no emulated x86-64 without AVX"
    fi
    ;;
esac

if command -v aarch64-linux-gnu-gcc >/dev/null && command -v qemu-aarch64 >/dev/null; then
    cmake -S "$ROOT" -B "$arm" --log-level=WARNING -DCMAKE_TOOLCHAIN_FILE="$ROOT/cmake/aarch64.cmake" \
        ${CMAKE_FLAGS-} -DEVENKEEL_TESTS=ON -DEVENKEEL_ZLIB=OFF -DEVENKEEL_CURL=OFF -DEVENKEEL_PNG=OFF -DEVENKEEL_JPEG=OFF \
        -DEVENKEEL_KERNELS=all -DEVENKEEL_KERNEL_OPTIMISATION=-O1 -DEVENKEEL_DIGEST=OFF -DEVENKEEL_ONNX=OFF >/dev/null
    cmake --build "$arm" --parallel 2 --target kernel_tests >"$TMPDIR/build.log" 2>&1 || {
        echo "not ok aarch64 builds"
        tail -n 40 "$TMPDIR/build.log" | sed 's/^/# /'
    }
    run_all "aarch64 (qemu)" "$arm/tests/kernels/*" env -u EVENKEEL_CPU qemu-aarch64
else
    echo "SKIP: no NEON: gcc-aarch64-linux-gnu or qemu-user is not installed"
fi

# One hash. The baseline rounds a multiplication and an addition twice: not compared.
grep -v -e baseline -e 'without AVX' "$bits" | sed 's/.*: //' >"$TMPDIR/hashes" || true
if [ -s "$bits" ] && [ "$(wc -l <"$TMPDIR/hashes")" -lt 2 ]; then
    echo "SKIP: fewer than two processors with fused multiply-add: no bits to compare"
elif sort -u "$TMPDIR/hashes" | awk 'length($0) >= 8 { hashes++ } END { exit !(NR == 1 && hashes == 1) }'; then
    echo "ok the same bits with every fused multiply-add"
else
    echo "not ok the same bits with every fused multiply-add"
fi
sed 's/^/# /' "$bits"
