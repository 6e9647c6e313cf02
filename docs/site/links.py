#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks the pages in a folder: every link leads to a file there and, with a #, to an anchor in it; no anchor is there
twice; every page can be reached from index.html. Addresses elsewhere are not asked.    links.py FOLDER"""
import html.parser
import os
import pathlib
import re
import sys
import urllib.parse


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links, self.anchors, self.twice = [], set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        name = attributes.get("id")
        if name is not None:
            (self.twice if name in self.anchors else self.anchors).add(name)
        self.links += [attributes[key] for key in ("href", "src") if key in attributes]


def check(folder):
    pages = {p.name: Page(p.read_text()) for p in folder.glob("*.html")}
    if "index.html" not in pages:
        yield f"{folder}: there is no index.html"
        return
    leads = {}
    for name, page in sorted(pages.items()):
        yield from (f"{name}: the anchor {anchor} is there twice" for anchor in sorted(page.twice))
        for link in page.links:
            if re.match(r"https?:", link):
                continue
            path, _, anchor = link.partition("#")
            path, anchor = urllib.parse.unquote(path) or name, urllib.parse.unquote(anchor)
            leads.setdefault(name, set()).add(path)
            if not (folder / path).is_file() or os.path.normpath(path).startswith(".."):
                yield f"{name}: the link to {link} leads to nothing"
            elif anchor and (path not in pages or anchor not in pages[path].anchors):
                yield f"{name}: the link to {link} leads to a page without that anchor"
    reached, new = set(), {"index.html"}
    while new:
        reached |= new
        new = {path for name in new for path in leads.get(name, ())} & pages.keys() - reached
    yield from (f"{name}: no link leads there from index.html" for name in sorted(pages.keys() - reached))


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: links.py FOLDER")
    problems = list(check(pathlib.Path(sys.argv[1])))
    print("\n".join(problems), end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
