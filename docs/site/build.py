#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the site: every document, the command's help and the public header as pages that link to each other.

    docs/site/build.py --evenkeel build/evenkeel --out build/site

docs/README.md is the navigation, so it must list every document. Markdown becomes HTML by cmark-gfm. A link that leads
to nothing is an error; docs/site/links.py checks the pages themselves."""
import argparse
import html
import os
import pathlib
import re
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
import header
import help as command_help

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SITE = pathlib.Path(__file__).resolve().parent
HEADER, COMMAND, DECISIONS = "include/evenkeel.h", "command", "docs/decisions"
NAMED = {"README.md": "index", "CONTRIBUTING.md": "contributing", "CHANGELOG.md": "changes", "bench/README.md": "bench",
         HEADER: "api", DECISIONS: "decisions", COMMAND: "command"}
PICTURES = {".png", ".svg"}
problems = []


def page_name(path):
    """The page of a file of the tree."""
    return NAMED.get(path, pathlib.PurePath(path).stem) + ".html"


def is_page(path):
    return path in NAMED or (path.startswith("docs/") and path.endswith(".md") and path != "docs/README.md")


# ---- Navigation ------------------------------------------------------------------------------------------------------

def read_navigation():
    """[(heading, [(title, path)])] of docs/README.md."""
    groups = []
    for line in (ROOT / "docs/README.md").read_text().split("\n"):
        if line.startswith("## "):
            groups.append((line[3:], []))
        elif entry := re.match(r"- \[(.+?)\]\((.+?)\)", line):
            groups[-1][1].append((entry[1], os.path.normpath("docs/" + entry[2])))
        elif line.startswith("- "):
            problems.append(f"docs/README.md: '{line}' is no entry such as - [Title](file.md): what it is about")
    groups[0][1].append(("The command", COMMAND))
    listed = {path for _, entries in groups for _, path in entries}
    for path in sorted(ROOT.glob("docs/*.md")):
        if f"docs/{path.name}" not in listed | {"docs/README.md"}:
            problems.append(f"docs/README.md: docs/{path.name} is not in the list")
    return groups


def navigation(groups, current, headings):
    out = ['<nav class="site" id="contents" aria-label="Documents">', '<p><a href="index.html">Evenkeel</a></p>']
    for title, entries in groups:
        out.append(f"<h2>{html.escape(title)}</h2>\n<ul>")
        for text, path in entries:
            here = ' class="here"' if path == current else ""
            inner = "".join(f'<li><a href="#{i}">{t}</a></li>' for t, i in headings) if here and headings else ""
            inner = f"<ul>{inner}</ul>" if inner else ""
            out.append(f'<li><a href="{page_name(path)}"{here}>{html.escape(text)}</a>{inner}</li>')
        out.append("</ul>")
    return "\n".join(out + ["</nav>"])


# ---- Pages -----------------------------------------------------------------------------------------------------------

def slug(text, taken):
    """A heading's anchor, as GitHub makes it."""
    base = re.sub(r"[^\w\- ]", "", html.unescape(re.sub(r"<.*?>", "", text)).strip().lower()).replace(" ", "-")
    name, number = base, 1
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    taken.add(name)
    return name


class Site:
    def __init__(self, out, evenkeel):
        self.out, self.groups, self.sources = out, read_navigation(), {}
        text = (ROOT / HEADER).read_text()
        self.version = ".".join(re.findall(r"^#define EK_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", text, re.M))
        self.api, self.names = header.page(text)
        self.command, self.commands = command_help.page(evenkeel)

    def target(self, source, link):
        """Where a link of `source` leads, on the site."""
        path, _, fragment = link.partition("#")
        if re.match(r"\w+:", link) or not path:
            return link
        full = os.path.normpath(os.path.join(os.path.dirname(source), path))
        fragment = f"#{fragment}" if fragment else ""
        if is_page(full):
            return page_name(full) + fragment
        if not (ROOT / full).is_file() or full.startswith(".."):
            problems.append(f"{source}: the link to {link} leads to nothing")
            return link
        if pathlib.PurePath(full).suffix in PICTURES:
            (self.out / "images").mkdir(exist_ok=True)
            shutil.copy(ROOT / full, self.out / "images")
            return "images/" + os.path.basename(full)
        self.sources[full] = full.replace("/", "-") + ".html"
        return self.sources[full]

    def link_code(self, match):
        """Code that is the name of a declaration, a command or a document becomes a link to it."""
        whole, text = match[0], match[1]
        if text is None:
            return whole
        name = re.match(r"(ek_\w+|EK_\w+)(?:[.(][\w.]*\)?)?$", text)
        command = re.match(r"evenkeel ([a-z]+(?: [a-z]+)?)", text)
        document = re.match(r"(?:docs/)?([\w.-]+\.md)$", text)
        if name and name[1] in self.names:
            return f'<a href="api.html#{name[1]}">{whole}</a>'
        if command:
            words = command[1].split()
            for anchor in ("-".join(words), words[0]):
                if anchor in self.commands:
                    return f'<a href="command.html#{anchor}">{whole}</a>'
        if document and is_page("docs/" + document[1]) and (ROOT / "docs" / document[1]).is_file():
            return f'<a href="{page_name("docs/" + document[1])}">{whole}</a>'
        return whole

    def markdown(self, source):
        done = subprocess.run(["cmark-gfm", "-e", "table", "-e", "strikethrough", "--unsafe",
                               "--table-prefer-style-attributes", str(ROOT / source)],
                              capture_output=True, text=True, check=True)
        text = re.sub(r"<!--.*?-->\n?", "", done.stdout, flags=re.S)
        taken = set()
        text = re.sub(r"<h([1-6])>(.*?)</h\1>",
                      lambda m: f'<h{m[1]} id="{slug(m[2], taken)}">{m[2]}</h{m[1]}>', text, flags=re.S)
        # A link whose text is a declaration's name leads to it.
        text = re.sub(r'<a href="[^"]*evenkeel\.h"><code>(\w+)</code></a>',
                      lambda m: f"<code>{m[1]}</code>" if m[1] in self.names else m[0], text)
        text = re.sub(r'\b(href|src)="([^"]*)"',
                      lambda m: f'{m[1]}="{html.escape(self.target(source, html.unescape(m[2])))}"', text)
        text = re.sub(r"<(?:a|pre|h\d)\b.*?</(?:a|pre|h\d)>|<code>([^<]*)</code>", self.link_code, text, flags=re.S)
        return text.replace("<table>", '<div class="box"><table>').replace("</table>", "</table></div>")

    def write(self, name, current, body, title=None):
        heading = re.search(r"<h1.*?>(.*?)</h1>", body, re.S)
        title = title or html.unescape(re.sub(r"<.*?>", "", heading[1]) if heading else "Evenkeel")
        headings = [(re.sub(r"<.*?>", "", m[2]), m[1]) for m in re.finditer(r'<h2 id="(.*?)">(.*?)</h2>', body, re.S)]
        shown = title if title == "Evenkeel" else f"{title} - Evenkeel"
        (self.out / name).write_text(f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(shown)}</title>
<link rel="stylesheet" href="style.css">
</head>
<body>
<header><a href="index.html">Evenkeel</a> <span>{self.version}</span>
<a class="all" href="#contents">All pages</a></header>
<div class="columns">
<main>
{body.strip()}
</main>
{navigation(self.groups, current, headings)}
</div>
</body>
</html>
""")

    def build(self):
        shutil.copy(SITE / "style.css", self.out)
        documents = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench/README.md"]
        documents += [str(p.relative_to(ROOT)) for p in sorted(ROOT.glob("docs/*.md")) if p.name != "README.md"]
        decisions = [str(p.relative_to(ROOT)) for p in sorted(ROOT.glob(DECISIONS + "/*.md"))]
        listed = []
        for source in documents + decisions:
            body = self.markdown(source)
            self.write(page_name(source), DECISIONS if source in decisions else source, body)
            if source in decisions:
                listed.append(f'<li><a href="{page_name(source)}">{re.search("<h1.*?>(.*?)</h1>", body)[1]}</a></li>')
        self.write("decisions.html", DECISIONS, "<h1>Decisions</h1>\n<p>Why things are as they are. A later one may "
                   f'replace an earlier one, and says so.</p>\n<ul class="plain">{"".join(listed)}</ul>')
        self.write("api.html", HEADER, self.api)
        self.write("command.html", COMMAND, self.command)
        for path, name in self.sources.items():
            text = html.escape((ROOT / path).read_text(), False).rstrip("\n")
            self.write(name, path, f"<h1>{html.escape(path)}</h1>\n<pre><code>{text}\n</code></pre>")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--evenkeel", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()
    if not shutil.which("cmark-gfm"):
        sys.exit("site: there is no cmark-gfm; apt-get install cmark-gfm")
    if options.out.exists() and not (options.out / "style.css").exists() and any(options.out.iterdir()):
        sys.exit(f"site: {options.out} holds other files; name a folder for the site alone")
    shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True)
    Site(options.out, os.path.abspath(options.evenkeel)).build()
    for problem in problems:
        print(f"site: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
