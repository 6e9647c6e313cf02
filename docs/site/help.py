# SPDX-License-Identifier: MIT
"""The command's own --help as a page."""
import html
import re
import subprocess


def ask(command, *words):
    done = subprocess.run([command, *words, "--help"], capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise SystemExit(f"site: {' '.join(words)} --help: exit status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def below(text, name):
    """What a command consists of, as lists of words to ask with: the lines "  WORD  what it does" of its first list, if
    its usage line speaks of a COMMAND or a TARGET."""
    option = ["--to"] if re.match(r"Usage: .*--to TARGET", text) else []
    block = re.search(r"\n\n((?:  [a-z][\w-]* +\S.*\n)+)", text)
    if not block or not (option or re.match(r"Usage: evenkeel .*?COMMAND", text)):
        return []
    return [[*name, *option, word] for word in re.findall(r"^  ([a-z][\w-]*) ", block[1], re.M)]


def text_of(text):
    """A sentence as HTML: options are not broken at their dashes, documents are links."""
    text = re.sub(r"(?<!\w)(--[a-z][\w-]*)", r'<span class="o">\1</span>', html.escape(text, False))
    return re.sub(r"\bdocs/([\w-]+)\.md\b", r'<a href="\1.html">docs/\1.md</a>', text)


def definitions(block, links):
    """Lines "  NAME   help", help behind blanks or on the next lines, as a list, in which names with an anchor in
    `links` lead there; None for other lines."""
    rows = []
    for line in block.split("\n"):
        match = re.match(r"  (-.*?|[A-Z]\S*|[a-z][\w-]*)(?:  +(\S.*))?$", line)
        match = match or re.match(r"  ([a-z][\w-]{8,}) (.*)$", line)  # a name as wide as its column
        if match:
            rows.append([match[1], match[2] or ""])
        elif line.startswith("   ") and rows:
            rows[-1][1] += " " + line.strip()
        else:
            return None
    out = []
    for name, text in rows:
        shown = f'<a href="#{links[name]}">{name}</a>' if name in links else html.escape(name, False)
        out.append(f"<dt><code>{shown}</code></dt><dd>{text_of(text)}</dd>")
    return f"<dl>{''.join(out)}</dl>"


def body(text, inner=()):
    """A --help as HTML: usage, paragraphs, options as a list, examples as they are. inner: what it consists of."""
    out, links = [], {words[-1]: anchor(words) for words in inner}
    for block in text.strip("\n").split("\n\n"):
        if block.startswith("Usage: "):
            out.append(f"<pre><code>{html.escape(block[7:], False)}</code></pre>")
            continue
        title, _, rest = block.partition(":\n")
        if rest.startswith("  "):
            out.append(f"<p>{html.escape(title, False)}:</p>")
            block = rest
        if block.startswith("  ") and title != "Example" and (rows := definitions(block, links)):
            out.append(rows)
        elif re.search(r"^  ", block, re.M):
            lines = "\n".join(line.removeprefix("  ") for line in block.split("\n"))
            out.append(f"<pre><code>{html.escape(lines, False)}</code></pre>")
        else:
            out.append(f"<p>{text_of(block)}</p>")
    return "\n".join(out)


def anchor(words):
    return "-".join(word.lstrip("-") for word in words)


def page(command):
    """(HTML, {anchors}) of all there is to ask."""
    top, parts = ask(command), []
    commands = below(top, [])
    for words in commands:
        text = ask(command, *words)
        inner = below(text, words)
        parts += [(words, 2, body(text, inner))] + [(more, 3, body(ask(command, *more))) for more in inner]
    if not parts:
        raise SystemExit("site: evenkeel --help lists no command")
    out = ["<h1>The command</h1>", "<p>What <code>evenkeel --help</code> and <code>evenkeel COMMAND --help</code> say."
           "</p>", body(top, commands)]
    for words, level, text in parts:
        out.append(f'<h{level} id="{anchor(words)}">evenkeel {" ".join(words)}</h{level}>\n{text}')
    return "\n".join(out), {anchor(words) for words, _, _ in parts}
