#!/bin/sh
# SPDX-License-Identifier: MIT
# The Debian packages: what is built is packed as it is, installed into a folder by dpkg, used from there, and purged. To
# compile it all from the start with Debian's flags, and to ask lintian, is `make deb`; packaging/clean-tree tries those in
# a Debian of their own.
set -eu
cd "$TMPDIR"
for tool in dpkg dh dpkg-gensymbols; do
    command -v $tool >/dev/null || { echo "SKIP: Debian packages, for there is no $tool (tools/setup deb)"; exit 0; }
done
[ "$(id -u)" -eq 0 ] || { echo "SKIP: Debian packages, for dpkg installs as root alone"; exit 0; }

attempt() # NAME COMMAND...
{
    name=$1
    shift
    if "$@" >log 2>&1; then echo "ok $name"; else printf 'not ok %s\n%s\n' "$name" "$(cat log)"; fi
}
version=$(sed -n 's/^#define EK_VERSION_\(MAJOR\|MINOR\|PATCH\) //p' "$ROOT/include/evenkeel.h" | paste -sd.)
soname=${version%.*}

mkdir 'what is built' # packed from a path with blanks
cp -a "$BUILD"/evenkeel "$BUILD"/libevenkeel.* "$BUILD"/man 'what is built'
attempt "the packages are made" "$ROOT/packaging/deb" --built 'what is built' deb
spares() { mkdir -p other && : >other/file && ! "$ROOT/packaging/deb" --built "$BUILD" other && [ -e other/file ]; }
attempt "a folder with other things is spared" spares
names_are() { [ "$(for deb in deb/*.deb; do dpkg-deb -f "$deb" Package; done | paste -sd' ')" = "$1" ] || { ls deb; false; }; }
attempt "there are three" names_are "evenkeel libevenkeel-dev libevenkeel$soname"

# An empty system; dpkg writes below it alone.
mkdir -p system/var/lib/dpkg/info system/var/lib/dpkg/updates system/var/lib/dpkg/triggers system/var/log
: >system/var/lib/dpkg/status
dpkg_there() { dpkg --root="$PWD/system" --log=/dev/null --force-depends --force-script-chrootless "$@"; }
what_is_there() { (cd system && find . -path ./var -prune -o -print | sort); }
what_is_there >before
attempt "they install" dpkg_there --install deb/*.deb

libraries=$PWD/system/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)
installed() { for file; do [ -s "system/usr/$file" ] || { echo "there is no $file"; return 1; }; done; }
attempt "header, manual and completions are there" installed include/evenkeel.h include/evenkeel.hpp \
    share/man/man1/evenkeel.1.gz share/man/man1/evenkeel-train.1.gz share/man/man3/evenkeel.3.gz \
    share/bash-completion/completions/evenkeel share/zsh/vendor-completions/_evenkeel \
    share/fish/vendor_completions.d/evenkeel.fish share/doc/evenkeel/docs/predict.md \
    share/doc/evenkeel/docs/images/chart.png share/doc/evenkeel/copyright "share/doc/libevenkeel$soname/changelog.gz"
owned() # every file belongs to a package
{
    (cd system && find . -path ./var -prune -o ! -type d -print | sed 's/^.//' | sort) >there
    cat system/var/lib/dpkg/info/*.list | sort -u >listed
    comm -23 there listed >strays
    [ -s there ] && [ ! -s strays ] || { cat strays; false; }
}
attempt "every file belongs to a package" owned
export LD_LIBRARY_PATH="$libraries"
attempt "the command works" eval 'system/usr/bin/evenkeel --version | grep -qx "evenkeel $version" &&
    system/usr/bin/evenkeel net show bn-lenet >/dev/null'

export PKG_CONFIG_SYSROOT_DIR="$PWD/system" PKG_CONFIG_LIBDIR="$libraries/pkgconfig"
attempt "a program compiles" $CC "$ROOT/tests/install/consumer.c" $(pkg-config --cflags --libs evenkeel) -o program
attempt "and runs with the package's library" eval \
    './program "$version" && ldd program | grep -q "$libraries/libevenkeel.so.$soname"'

# What a package that depends on the library comes to depend on.
attempt "its symbols are the header's" eval '[ "$(grep -c "^ ek_.*@Base $soname.0$" \
    system/var/lib/dpkg/info/libevenkeel$soname*.symbols)" -eq \
    "$(grep -c "^EK_API .*[ *]ek_[a-z0-9_]*(" "$ROOT/include/evenkeel.h")" ]'

attempt "they are purged" dpkg_there --purge evenkeel libevenkeel-dev "libevenkeel$soname"
gone() { what_is_there | diff before - && ! grep -q '^Package' system/var/lib/dpkg/status; }
attempt "and leave nothing" gone
