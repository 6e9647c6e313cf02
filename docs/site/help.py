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
    """What a command consists of, as (words to ask with, title): the lines "  WORD  what it does" of its first list, if
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


def definitions(block):
    """Lines "  --name VALUE   help", help behind two blanks or on the next lines, as a list; None for other lines."""
    rows = []
    for line in block.split("\n"):
        match = re.match(r"^  (-.*?|[A-Z]\S*)(?:  +(\S.*))?$", line)
        if match:
            rows.append([match[1], match[2] or ""])
        elif line.startswith("   ") and rows:
            rows[-1][1] += " " + line.strip()
        else:
            return None
    return "<dl>" + "".join(f"<dt><code>{html.escape(name, False)}</code></dt><dd>{text_of(text)}</dd>"
                            for name, text in rows) + "</dl>"


def body(text):
    """A --help as HTML: usage, paragraphs, options as a list, examples as they are."""
    out = []
    for block in text.strip("\n").split("\n\n"):
        if block.startswith("Usage: "):
            out.append(f"<pre><code>{html.escape(block[7:], False)}</code></pre>")
        elif block.startswith("Example:\n"):
            out.append(f"<p>Example:</p>\n<pre><code>{html.escape(block[9:], False)}</code></pre>")
        elif block.startswith("  ") and (rows := definitions(block)):
            out.append(rows)
        elif re.search(r"^  ", block, re.M):
            out.append(f"<pre><code>{html.escape(block, False)}</code></pre>")
        else:
            out.append(f"<p>{text_of(block)}</p>")
    return "\n".join(out)


def anchor(words):
    return "-".join(word.lstrip("-") for word in words)


def page(command):
    """(HTML, {anchors}) of all there is to ask."""
    top = ask(command)
    parts = []
    for words in below(top, []):
        text = ask(command, *words)
        parts.append((words, text, 2))
        parts += [(more, ask(command, *more), 3) for more in below(text, words)]
    if not parts:
        raise SystemExit("site: evenkeel --help lists no command")
    links = " ".join(f'<a href="#{anchor(words)}">{words[0]}</a>' for words, _, level in parts if level == 2)
    out = ["<h1>The command</h1>", "<p>What <code>evenkeel --help</code> and <code>evenkeel COMMAND --help</code> say."
           "</p>", f'<nav class="index"><p>{links}</p></nav>', body(top)]
    for words, text, level in parts:
        out.append(f'<h{level} id="{anchor(words)}">evenkeel {" ".join(words)}</h{level}>\n{body(text)}')
    return "\n".join(out), {anchor(words) for words, _, _ in parts}
