#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs into a scratch prefix and builds a program outside of the tree against it: by pkg-config and by the CMake
# package, shared and static, as C and as C++.
set -eu
prefix=$TMPDIR/prefix
cmake --install "$BUILD" --prefix "$prefix" >/dev/null
cp -r "$ROOT/tests/install" "$TMPDIR/outside"
cd "$TMPDIR/outside"

attempt() # NAME COMMAND...
{
    name=$1
    shift
    if "$@" >log 2>&1; then
        echo "ok $name"
    else
        echo "not ok $name"
        cat log
    fi
}

pc=$(find "$prefix" -name evenkeel.pc)
PKG_CONFIG_PATH=$(dirname "$pc")
LD_LIBRARY_PATH=$(dirname "$(find "$prefix" -name libevenkeel.so)")
export PKG_CONFIG_PATH LD_LIBRARY_PATH
version=$(pkg-config --modversion evenkeel)

relative_prefix() # the pkg-config file names the whole path all the same
{
    mkdir elsewhere && cd elsewhere && cmake --install "$BUILD" --prefix relative &&
        grep -qx "prefix=$PWD/relative" "$(find relative -name evenkeel.pc)"
}

linked_to_it() { readelf -d "$1" | grep -q 'NEEDED.*libevenkeel'; }
not_linked_to_it() { readelf -d "$1" | grep -q NEEDED && ! linked_to_it "$1"; }

attempt "pkg-config shared: builds" $CC consumer.c $(pkg-config --cflags --libs evenkeel) -o with-pc
attempt "pkg-config shared: runs" ./with-pc "$version"
attempt "pkg-config shared: is shared" linked_to_it with-pc
static=$(pkg-config --static --libs evenkeel | sed 's/-levenkeel/-l:libevenkeel.a/')
attempt "pkg-config static: builds" $CC consumer.c $(pkg-config --cflags evenkeel) $static -o with-pc-static
attempt "pkg-config static: runs" ./with-pc-static "$version"
attempt "pkg-config static: is static" not_linked_to_it with-pc-static
attempt "C++: builds" ${CXX:-c++} -x c++ consumer.c $(pkg-config --cflags --libs evenkeel) -o with-cpp
attempt "C++: runs" ./with-cpp "$version"

attempt "evenkeel.hpp: builds" ${CXX:-c++} -std=c++17 consumer.cpp $(pkg-config --cflags --libs evenkeel) -o with-hpp
attempt "evenkeel.hpp: owners, exceptions, callbacks" ./with-hpp "$version"

attempt "CMake package: configures" cmake -S . -B build -DCMAKE_PREFIX_PATH="$prefix" -DVERSION="$version"
attempt "CMake package: builds" cmake --build build
attempt "CMake package: shared runs" build/consumer "$version"
attempt "CMake package: shared is shared" linked_to_it build/consumer
attempt "CMake package: static runs" build/consumer-static "$version"
attempt "CMake package: static is static" not_linked_to_it build/consumer-static
attempt "a relative prefix" eval '(relative_prefix)'
if [ -x "$EVENKEEL" ]; then
    installed() { for file; do [ -s "$prefix/share/$file" ] || { echo "there is no $file"; return 1; }; done; }
    attempt "the manual is installed" installed man/man1/evenkeel.1 man/man1/evenkeel-train.1 man/man3/evenkeel.3
    attempt "completions are installed" installed bash-completion/completions/evenkeel \
        zsh/site-functions/_evenkeel fish/vendor_completions.d/evenkeel.fish
    attempt "the documents are installed" installed doc/evenkeel/README.md doc/evenkeel/docs/predict.md \
        doc/evenkeel/docs/images/chart.png
    attempt "the installed command runs" sh -c '"$1" --version | grep -q "$2"' - "$prefix/bin/evenkeel" "$version"
fi
