#!/bin/sh
# SPDX-License-Identifier: MIT
# The site of the documents: it can be made, its links lead somewhere, its pages are valid HTML.
set -u
command -v cmark-gfm >/dev/null || {
    echo "SKIP: the site: there is no cmark-gfm (apt-get install cmark-gfm)"
    exit 0
}
cd "$TMPDIR" || exit 1
failures=0
report() # NAME FAULT
{
    if [ -z "$2" ]; then
        echo "ok $1"
    else
        printf 'not ok %s\n%s\n' "$1" "$2"
        failures=$((failures + 1))
    fi
}
links() { "$ROOT/docs/site/links.py" "$1" 2>&1; }

report "the site is made" "$("$ROOT/docs/site/build.py" --evenkeel "$EVENKEEL" --out site 2>&1)"
report "links lead somewhere" "$(links site)"
for page in index guide tour command api format predict; do
    [ -s site/$page.html ] || report "there is $page.html" "no"
done
missing=
for name in $(sed -n 's/^EK_API [^(;]*[ *]\(ek_[a-z0-9_]*\)(.*/\1/p' "$ROOT/include/evenkeel.h"); do
    grep -q "<span id=\"$name\">" site/api.html || missing="$missing $name"
done
report "every function of the header is in the page about it" "$missing"
missing=
for name in $("$EVENKEEL" --help | sed -n '/^Usage/,/^  --help/s/^  \([a-z]*\)  *[a-z].*/\1/p'); do
    grep -q "<h2 id=\"$name\">" site/command.html || missing="$missing $name"
done
report "so is every command in its own" "$missing"
if command -v tidy >/dev/null; then
    report "tidy accepts every page" "$(for page in site/*.html; do tidy -quiet -errors "$page" 2>&1 | sed "s|^|$page: |"; done)"
else
    echo "SKIP: pages in an HTML validator: there is no tidy (apt-get install tidy)"
fi

# What links.py would say.
broken() # NAME WANTED: of site/guide.html with a line more, $3
{
    rm -rf copy && cp -r site copy && echo "$3" >>copy/guide.html
    [ "$(links copy)" = "guide.html: $2" ]
    report "$1 is told" "$([ $? -eq 0 ] || echo "no: $(links copy)")"
}
broken "a page that is not there" "the link to nothing.html leads to nothing" '<a href="nothing.html">x</a>'
broken "an anchor that is not there" "the link to tour.html#no leads to a page without that anchor" '<a href="tour.html#no">x</a>'
broken "a picture that is not there" "the link to images/no.png leads to nothing" '<img src="images/no.png">'
broken "an anchor that is there twice" "the anchor contents is there twice" '<p id="contents">x</p>'
[ "$failures" -eq 0 ]
