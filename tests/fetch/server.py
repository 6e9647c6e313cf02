#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A web server that misbehaves, for the tests of downloading: server.py ROOT

Prints the port of 127.0.0.1 that it listens on as one line. /HOW/NAME answers with the file ROOT/NAME in the manner
HOW, one of the methods of Answer named as_HOW. Every request adds a line "HOW NAME RANGE" to ROOT/log.
"""
import http.server
import pathlib
import re
import sys
import time

ROOT = pathlib.Path(sys.argv[1])
seen = {}  # how often a path was asked for


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        how, _, self.name = self.path.lstrip("/").partition("/")
        wanted = self.headers.get("Range", "")
        with open(ROOT / "log", "a", encoding="utf-8") as log:
            print(how, self.name, wanted or "-", file=log)
        seen[self.path] = seen.get(self.path, 0) + 1
        self.close_connection = True
        self.begin = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted else 0
        path = ROOT / self.name
        self.body = path.read_bytes() if path.is_file() else b""
        getattr(self, "as_" + how.replace("-", "_"))()

    def head(self, status, length=None, **headers):
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def send(self, data):
        self.wfile.write(data)
        self.wfile.flush()

    # ---- Well-behaved --------------------------------------------------------------------------------------------

    def as_good(self, share=1.0):
        """`share` of what was asked for, while all of it is promised."""
        if self.begin and self.begin >= len(self.body):
            self.head(416, 0)
            return
        rest = self.body[self.begin:]
        if self.begin:
            last = len(self.body) - 1
            self.head(206, len(rest), Content_Range=f"bytes {self.begin}-{last}/{len(self.body)}")
        else:
            self.head(200, len(rest))
        self.send(rest[:int(len(rest) * share)])

    def as_redirect(self):
        self.head(302, 0, Location=f"/good/{self.name}")

    def as_norange(self):
        self.begin = 0
        self.as_good()

    def as_missing(self):
        self.head(404, 9)
        self.send(b"not found")

    # ---- Broken --------------------------------------------------------------------------------------------------

    def as_truncate(self):
        self.as_good(0.5)

    def as_once(self):
        """Cuts the first answer for a path short."""
        self.as_good(0.5 if seen[self.path] == 1 else 1.0)

    def as_stall(self):
        self.head(200, len(self.body))
        self.send(self.body[:len(self.body) // 2])
        time.sleep(60)

    def as_mute(self):
        time.sleep(60)

    def as_drop(self):
        pass

    def as_less(self):
        """Promises less than the file, and keeps that promise."""
        self.body = self.body[:-5]
        self.as_norange()

    def as_empty(self):
        self.head(200, 0)

    def as_wrong(self):
        other = "t10k" if self.name.startswith("train") else "train"
        self.body = (ROOT / (other + self.name[self.name.index("-"):])).read_bytes()
        self.as_good()

    def as_page(self):
        self.body = b"<!DOCTYPE html><title>Please log in</title>"
        self.as_norange()

    def as_endless(self):
        self.head(200)
        for _ in range(4096):
            self.send(self.body * 100)

    def as_huge(self):
        self.head(200, 1 << 40)
        self.send(self.body)

    def as_misplaced(self):
        """Says that it goes on, but from elsewhere."""
        if self.begin:
            self.head(206, len(self.body), Content_Range=f"bytes 0-{len(self.body) - 1}/{len(self.body)}")
            self.send(self.body)
        else:
            self.as_good()

    def as_loop(self):
        self.head(302, 0, Location=self.path)

    def as_file(self):
        self.head(302, 0, Location=f"file://{ROOT}/{self.name}")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # a client that hangs up is what some tests are about


with Server(("127.0.0.1", 0), Answer) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
