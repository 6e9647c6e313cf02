#!/bin/sh
# SPDX-License-Identifier: MIT
# The manual that a build wrote: a page for each command with each of its options and words of its own, every function of
# the header in evenkeel(3), and no complaint of those who format it.
set -eu
cd "$BUILD/man"

if ! command -v man >/dev/null; then
    echo "SKIP: the manual, for there is no man"
    exit 0
fi
result() # NAME FAULT; an empty FAULT is a pass
{
    if [ -z "$2" ]; then echo "ok $1"; else printf 'not ok %s\n%s\n' "$1" "$2"; fi
}
commands=$("$EVENKEEL" --help | sed -n '/^Usage/,/^  --help/s/^  \([a-z][a-z-]*\) .*/\1/p')
[ "$(echo "$commands" | wc -l)" -gt 8 ] || result "the commands are found" "$commands"

wanted=$(for command in $commands; do echo "evenkeel-$command.1"; done; echo evenkeel.1; echo evenkeel.3)
result "a page for each command, and no other" "$(ls | sort >"$TMPDIR/got"; echo "$wanted" | sort | diff - "$TMPDIR/got" || true)"
result "evenkeel(1) names them" "$(for command in $commands; do grep -qx ".It Xr evenkeel-$command 1" evenkeel.1 || echo "$command"; done)"

# The page as a person sees it; what the formatter complains of is collected.
shown()
{
    MANWIDTH=200 LC_ALL=C.UTF-8 man --warnings -l "$1" 2>"$TMPDIR/complaint" | sed 's/.\x08//g'
    sed "s/^/$1: /" "$TMPDIR/complaint" >>"$TMPDIR/warnings"
}
: >"$TMPDIR/warnings"

# forms COMMAND: itself, or "data show", "export --to c" and so on, a line each.
forms()
{
    inner=$("$EVENKEEL" $1 --help | sed -n '/^Usage.* \(COMMAND\|TARGET\)/,/^  --help/s/^  \([a-z][a-z-]*\) .*/\1/p')
    [ "$1" = export ] && between=" --to" || between=
    if [ "$inner" ]; then echo "$inner" | sed "s/^/$1$between /"; else echo "$1"; fi
}

for command in $commands; do
    shown evenkeel-$command.1 >"$TMPDIR/page"
    missing=
    forms "$command" >"$TMPDIR/forms"
    while read -r form; do
        "$EVENKEEL" $form --help >"$TMPDIR/help"
        sed -n 's/^  \(-., \)\{0,1\}\(--[a-z0-9-]*\).*/\2/p' "$TMPDIR/help" >"$TMPDIR/options"
        grep -q . "$TMPDIR/options" || missing="$missing no option was found;"
        while read -r option; do
            [ "$option" = --help ] || grep -Eq -e "^ +(-., )?$option(\$|[^a-z0-9-])" "$TMPDIR/page" || missing="$missing $option"
        done <"$TMPDIR/options"
        sed -n '/^Example:/,/^Exit status/s/^  \(evenkeel.*\)/\1/p' "$TMPDIR/help" | while read -r line; do
            grep -qF -e "$line" "$TMPDIR/page" || echo "example: $line"
        done >"$TMPDIR/examples"
        missing="$missing$(cat "$TMPDIR/examples")"
    done <"$TMPDIR/forms"
    for section in NAME SYNOPSIS DESCRIPTION "EXIT STATUS" EXAMPLES "SEE ALSO"; do
        grep -qx "$section" "$TMPDIR/page" || missing="$missing no $section;"
    done
    result "evenkeel-$command(1) has what --help has" "$missing"
done

shown evenkeel.1 >"$TMPDIR/page"
result "evenkeel(1) has the environment that --help has" "$("$EVENKEEL" --help |
    sed -n '/^Environment/,/^$/s/^  \([A-Z_]*\) .*/\1/p' | while read -r name; do
        grep -q " $name\$\| $name  *" "$TMPDIR/page" || echo "$name"
    done)"
shown evenkeel.3 >"$TMPDIR/page"
functions=$(sed -n 's/^EK_API .*[ *]\(ek_[a-z0-9_]*\)(.*/\1/p' "$ROOT/include/evenkeel.h")
[ "$(echo "$functions" | wc -l)" -gt 50 ] || result "the header's functions are found" "$functions"
result "evenkeel(3) has the header's functions" \
    "$(for name in $functions; do grep -Eq "(^| )$name\(\)" "$TMPDIR/page" || echo "$name"; done)"

result "man formats every page without a warning" "$(cat "$TMPDIR/warnings")"
if command -v mandoc >/dev/null; then
    result "mandoc finds nothing to say of a page" "$(mandoc -Tlint -W warning *.[13] || true)"
else
    echo "SKIP: the manual by mandoc, which is not installed"
fi
