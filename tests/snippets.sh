#!/bin/sh
# SPDX-License-Identifier: MIT
# Compiles the C in README.md and docs/*.md: each fenced block below a line <!-- example: NAME -->; those of one name are
# one program, in their order. One with a main function is linked as it is; any other is the body of a function that has
# the public header.
set -eu
cd "$TMPDIR"
awk '
    /^<!-- example: [a-z0-9-]+ -->$/ { name = $3; next }
    /^```/ && inside { inside = 0; next }
    /^```c$/ && name {
        inside = 1; out = name ".c"; name = ""
        if (!(out in seen)) { seen[out]; print FILENAME ":" out > "list" }
        next
    }
    inside { print > out }
    !inside && NF { name = "" }
' "$ROOT/README.md" "$ROOT"/docs/*.md
test -s list || {
    echo "SKIP: no marked C block in README.md or docs/"
    exit 0
}
warnings='-std=c11 -Wall -Wextra -Wpedantic -Werror -Wno-unused-variable'
while IFS=: read -r file snippet; do
    if ! grep -q 'int main(' "$snippet"; then
        {
            printf '#include <evenkeel.h>\n#include <stdio.h>\n#include <stdlib.h>\n'
            printf 'int body(void);\nint body(void)\n{\n'
            sed 's/^/    /' "$snippet"
            printf '    return 0;\n}\nint main(void) { return body(); }\n'
        } >wrapped
        mv wrapped "$snippet"
    fi
    if $CC $warnings -I"$ROOT/include" "$snippet" -L"$BUILD" -levenkeel -lm -Wl,-rpath,"$BUILD" -o program 2>log; then
        echo "ok ${file#"$ROOT/"} ${snippet%.c}"
    else
        echo "not ok ${file#"$ROOT/"} ${snippet%.c}"
        cat log
    fi
done <list
