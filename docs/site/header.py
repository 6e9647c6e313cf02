# SPDX-License-Identifier: MIT
"""The public header as a page: its sections, each declaration with its comment, an anchor for every name."""
import html
import re

NAME = re.compile(r"\b(?:ek|EK)_\w+")
# What a chunk of the header declares: functions, macros with a value or parameters, enumerators, structs and enums.
DECLARED = [re.compile(p, re.M) for p in (
    r"^EK_API [^(;]*?\b(ek_\w+)\(", r"^#define (EK_\w+)", r"^ +(EK_[A-Z0-9_]+)\b[ ,=}/]", r"[{,] (EK_[A-Z0-9_]+) =",
    r"^} (ek_\w+);", r"^typedef (?:struct|enum) (\w+)", r"^ +X\((EK_\w+),")]


def chunks(text):
    """The header's paragraphs: (comment, code), one of them perhaps empty. A blank line ends one where neither a
    comment nor a brace is open."""
    lines, open_comment, depth = [], False, 0
    for line in text.split("\n") + [""]:
        if line or open_comment or depth:
            lines.append(line)
            bare = re.sub(r"/\*.*?\*/", "", line)
            if open_comment:
                open_comment = "*/" not in line
            else:
                open_comment = "/*" in bare
                bare = bare.split("/*")[0]
                depth += bare.count("{") - bare.count("}")
            continue
        if lines:
            yield split_comment(lines)
        lines = []


def split_comment(lines):
    if not lines[0].startswith("/*"):
        return "", "\n".join(lines)
    end = next(i for i, line in enumerate(lines) if "*/" in line) + 1
    lines = lines[:end - 1] + [lines[end - 1].replace("*/", "").rstrip()] + lines[end:]
    comment = [re.sub(r"^(/\*| \*| $) ?", "", line) for line in lines[:end]]
    return "\n".join(comment).strip("\n"), "\n".join(lines[end:])


def link_names(text, known, own=()):
    """Text to HTML, in which names that are declared somewhere are links, and its own stand out."""
    parts, at = [], 0
    for match in NAME.finditer(text):
        name = match[0]
        if name in known:
            shown = f"<b>{name}</b>" if name in own else f'<a href="#{name}">{name}</a>'
            parts += [html.escape(text[at:match.start()], False), shown]
            at = match.end()
    return "".join(parts) + html.escape(text[at:], False)


def definition_list(block, known):
    """`term    text` lines, text going on deeper than the term, as a list; None where the block is anything else."""
    terms = []
    indent = min(len(line) - len(line.lstrip()) for line in block)
    for line in block:
        depth = len(line) - len(line.lstrip())
        match = re.match(r"(\S.*?)(?:  +)(\S.*)$", line.strip())
        if depth == indent and match:
            terms.append([match[1], match[2]])
        elif depth > indent and terms:
            terms[-1][1] += " " + line.strip()
        else:
            return None
    rows = "".join(f"<dt>{link_names(term, known)}</dt><dd>{link_names(text, known)}</dd>" for term, text in terms)
    return f"<dl>{rows}</dl>"


def prose(comment, known):
    """A comment as HTML: paragraphs; what is indented stays as it is, or becomes a list."""
    out, paragraph, block = [], [], []

    def flush():
        if paragraph:
            out.append(f"<p>{link_names(' '.join(paragraph), known)}</p>")
        if block:
            kept = "\n".join(line[min(len(l) - len(l.lstrip()) for l in block):] for line in block)
            out.append(definition_list(block, known) or f"<pre><code>{link_names(kept, known)}</code></pre>")
        paragraph.clear()
        block.clear()

    for line in comment.split("\n"):
        if not line.strip():
            flush()
        elif line.startswith("  "):
            if paragraph:
                flush()
            block.append(line)
        else:
            if block:
                flush()
            paragraph.append(line.strip())
    flush()
    return "\n".join(out)


def page(text):
    """(HTML, {anchors}) of the header's text."""
    text = text[:text.index("#ifdef __cplusplus\n}")]
    head, body = text.split("#ifndef EVENKEEL_H", 1)
    intro = split_comment(head.strip().split("\n"))[0]
    intro = intro.split("\n", 2)[2]  # behind the licence and the blank line
    sections = re.split(r"^/\* ---- (\d+\. .*?) -+ \*/$", body, flags=re.M)
    known, parsed = {"EK_API"}, []
    for title, section in zip(sections[1::2], sections[2::2]):
        items = []
        for comment, code in chunks(section):
            names = list(dict.fromkeys(name for p in DECLARED for name in p.findall(code)))
            names = [n for n in names if n not in known]
            known.update(names)
            items.append((comment, code, names))
        parsed.append((title, "section-" + title.split(".")[0], items))
    known.discard("EK_API")
    out = ["<h1>The C interface</h1>", prose(intro, known), '<nav class="index"><ul>']
    for title, anchor, items in parsed:
        names = [n for _, _, found in items for n in found if n.startswith("ek_")]
        links = " ".join(f'<a href="#{n}">{n}</a>' for n in names)
        out.append(f'<li><a href="#{anchor}"><strong>{html.escape(title)}</strong></a> <span>{links}</span></li>')
    out.append("</ul></nav>")
    for title, anchor, items in parsed:
        out.append(f'<h2 id="{anchor}">{html.escape(title)}</h2>')
        for comment, code, names in items:
            # An anchor is an element of its own: one declaration may have a hundred names.
            anchors = "".join(f'<span id="{name}"></span>' for name in names)
            text = link_names(re.sub(r"^EK_API ", "", code, flags=re.M).strip("\n"), known, names)
            declaration = f"<pre><code>{text}</code></pre>" if text else ""
            out.append(f'<section class="item">{anchors}{declaration}\n{prose(comment, known)}</section>')
    return "\n".join(out), known
