#!/bin/sh
# SPDX-License-Identifier: MIT
# What the libraries show to a linker: the shared one the public header's functions and nothing else, the static one
# ek_ names alone; and that no vector instruction beyond the baseline is outside the kernels that are chosen for it.
set -eu
cd "$TMPDIR"

result() # NAME FILE-OF-FINDINGS
{
    if [ -s "$2" ]; then
        echo "not ok $1"
        cat "$2"
    else
        echo "ok $1"
    fi
}

# least NAME NUMBER: a list too short means that this script has not seen what it is about.
least()
{
    if [ "$2" -gt 30 ]; then : >short; else echo "only $2" >short; fi
    result "$1" short
}

sed -n 's/^EK_API .*[ *]\(ek_[a-z0-9_]*\)(.*/\1/p' "$ROOT/include/evenkeel.h" | sort >declared
least "the header's functions are found" "$(wc -l <declared)"
nm -D --defined-only "$BUILD/libevenkeel.so" | awk '{ print $3 }' | sort >shown
diff declared shown >differ || true
result "the shared library shows the header's functions" differ

nm -g --defined-only "$BUILD/libevenkeel.a" | awk 'NF == 3 && $3 !~ /^ek_/ { print $3 }' >foreign
result "the static library shows ek_ names alone" foreign
least "the static library's functions are found" "$(nm -g --defined-only "$BUILD/libevenkeel.a" | grep -c ' T ek_')"

objdump -p "$BUILD/libevenkeel.so" | grep SONAME >soname
version=$(sed -n 's/^#define EK_VERSION_M[AI][JN]OR //p' "$ROOT/include/evenkeel.h" | paste -sd.)
grep -q "libevenkeel.so.$version\$" soname && : >soname
result "the soname holds major and minor version" soname

if [ "$(uname -m)" = x86_64 ]; then
    for folder in evenkeel_objects kernels_baseline; do
        find "$BUILD/CMakeFiles/$folder.dir" -name '*.o' | while read -r object; do
            objdump -d --no-show-raw-insn "$object" | grep -q '%[yz]mm' && echo "$object"
        done
    done >vectors || true
    result "no AVX outside its kernels" vectors
    least "AVX in its kernels is found" "$(objdump -d --no-show-raw-insn \
        "$BUILD/CMakeFiles/kernels_avx2.dir"/src/cpu/kernel/*.o | grep -c '%ymm')"
fi
