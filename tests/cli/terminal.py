#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs a command on a terminal of its own and prints the screen that is left, for tests/cli/live.sh.

    terminal.py [--size COLUMNSxROWS] [--set NAME=VALUE ...] [--resize SECONDS:COLUMNSxROWS] [--stall SECONDS
                --file FILE] [--signal SECONDS:NAME ...] [--shell] [--seconds N] [--raw FILE] [--png FILE] COMMAND ...

Seconds of signals count from the first curve on.

The terminal is a strict one: it knows what the command may send and nothing else, and breaks lines anew when its width
changes, as most do. With --stall nothing is read until FILE exists, or for so long. With --shell the command is a
shell's job, which is stopped (Ctrl-Z), goes on in the background and then in the foreground, and is ended by Ctrl-C.
Behind the screen come lines "# ...": the cursor, lines that ran over the right edge, the exit status,
and how many pictures a second were drawn at most."""
import argparse
import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

DOTS = re.compile(rb"\xe2(\xa0[\x81-\xbf]|[\xa1-\xa3])")  # braille, U+2801 to U+28FF
CONTROL = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])")


class Screen:
    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.lines = [[]]  # cells: (character, colour); all there ever were
        self.broken = [False]  # the line goes on in the next
        self.top = self.row = self.column = 0
        self.visible, self.colour, self.ran_over = True, "0", 0
        self.rest, self.pictures, self.returned = "", [], False

    def line_feed(self, broken=False):
        self.broken[self.row] = broken
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append([])
            self.broken.append(False)
        self.top = max(self.top, self.row - self.rows + 1)

    def put(self, character):
        if self.column == self.columns:
            self.ran_over += 1
            self.line_feed(True)
            self.column = 0
        line = self.lines[self.row]
        line.extend([(" ", "0")] * (self.column + 1 - len(line)))
        line[self.column] = (character, self.colour)
        self.column += 1

    def control(self, private, numbers, letter):
        if private:
            assert numbers == "25" and letter in "hl", f"?{numbers}{letter}"
            self.visible = letter == "h"
        elif letter == "m":
            self.colour = numbers or "0"
        elif letter == "A":
            self.row = max(self.top, self.row - int(numbers or 1))
        elif letter in "JK":
            assert numbers == ""
            del self.lines[self.row][self.column:]
            if letter == "J":
                del self.lines[self.row + 1:], self.broken[self.row + 1:]
        else:
            raise AssertionError(f"unknown control {numbers}{letter}")

    def feed(self, text):
        text, self.rest = self.rest + text, ""
        at = 0
        while at < len(text):
            character = text[at]
            if self.returned and character != "\n":  # to draw anew what stands in the line
                self.pictures.append(time.monotonic())
            self.returned = character == "\r"
            if character == "\x1b":
                match = CONTROL.match(text, at)
                if not match:
                    assert re.fullmatch(r"\x1b(\[\??[0-9;]*)?", text[at:]), repr(text[at:at + 20])
                    self.rest = text[at:]
                    return
                self.control(*match.groups())
                at = match.end()
                continue
            if character == "\r":
                self.column = 0
            elif character == "\n":
                self.line_feed()
            else:
                assert character.isprintable(), repr(character)
                self.put(character)
            at += 1

    def resize(self, columns, rows):
        lines, broken, row, column = [], [], 0, 0
        at = 0
        while at < len(self.lines):
            whole, begin = [], at
            while True:
                if at == self.row:
                    row, column = len(lines), len(whole) + self.column
                whole += self.lines[at]
                at += 1
                if not self.broken[at - 1] or at == len(self.lines):
                    break
            pieces = [whole[i:i + columns] for i in range(0, len(whole), columns)] or [[]]
            if begin <= self.row < at:
                row, column = len(lines) + min(column // columns, len(pieces) - 1), column % columns
            lines += pieces
            broken += [True] * (len(pieces) - 1) + [False]
        self.lines, self.broken, self.row, self.column = lines, broken, row, column
        self.columns, self.rows = columns, rows
        self.top = max(0, len(lines) - rows)

    def text(self):
        lines = ["".join(character for character, _ in line).rstrip() for line in self.lines]
        while lines and not lines[-1]:
            lines.pop()
        return "\n".join(lines)

    def most_pictures(self):
        """In any second."""
        return max((sum(a <= b < a + 1 for b in self.pictures) for a in self.pictures), default=0)


def set_size(fd, columns, rows):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def size_of(text):
    columns, rows = text.split("x")
    return int(columns), int(rows)


def be_shell(command, environment):
    """What a shell with job control does for one who types Ctrl-Z, bg, fg, Ctrl-C."""
    def wait_and_say(seconds, text):
        time.sleep(seconds)
        os.write(1, text.encode() + b"\n")

    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpgrp())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.execvpe(command[0], command, environment)
    time.sleep(0.6)
    os.killpg(job, signal.SIGTSTP)
    stopped = os.WIFSTOPPED(os.waitpid(job, os.WUNTRACED)[1])
    os.tcsetpgrp(0, os.getpgrp())
    wait_and_say(0, "[job stopped]" if stopped else "[job not stopped]")
    os.killpg(job, signal.SIGCONT)
    wait_and_say(0.5, "[job in the foreground]")
    os.tcsetpgrp(0, job)
    os.killpg(job, signal.SIGCONT)
    time.sleep(0.5)
    os.killpg(job, signal.SIGINT)
    status = os.waitstatus_to_exitcode(os.waitpid(job, 0)[1])
    os._exit(status if status >= 0 else 128 - status)


def run(options):
    columns, rows = size_of(options.size)
    environment = {key: value for key, value in os.environ.items()
                   if key not in ("COLUMNS", "LINES", "NO_COLOR", "COLORTERM", "LC_ALL", "LC_CTYPE", "LANG", "TERM")}
    environment.update(TERM="xterm-256color", LC_ALL="C.UTF-8")
    environment.update(item.split("=", 1) for item in options.set)
    environment = {key: value for key, value in environment.items() if value != "-"}
    child, fd = pty.fork()
    if child == 0:
        set_size(0, columns, rows)
        for number in (signal.SIGINT, signal.SIGQUIT):  # which whoever runs this in the background may ignore
            signal.signal(number, signal.SIG_DFL)
        if options.shell:
            be_shell(options.command, environment)
        os.execvpe(options.command[0], options.command, environment)
    screen = Screen(columns, rows)
    decoder = codecs.getincrementaldecoder("utf-8")()
    start = time.monotonic()
    events = [(float(at), what) for at, what in (item.split(":") for item in options.resize)]
    events.sort()
    signals = sorted((float(at), what) for at, what in (item.split(":") for item in options.signal))
    raw, drawn = b"", None  # when the first curve came: slow machines take their time
    while True:
        now = time.monotonic() - start
        if now > options.seconds:
            os.kill(child, signal.SIGKILL)
        while events and now >= events[0][0]:
            what = events.pop(0)[1]
            set_size(fd, *size_of(what))
            screen.resize(*size_of(what))
        if drawn is None and DOTS.search(raw):
            drawn = now
        while signals and drawn is not None and now - drawn >= signals[0][0]:
            os.kill(child, getattr(signal, "SIG" + signals.pop(0)[1]))
        if now < options.stall:
            time.sleep(0.05)
            if os.path.exists(options.file):
                options.stall = 0
                print(f"# {options.file} was there while nobody read")
            continue
        if not select.select([fd], [], [], 0.02)[0]:
            continue
        try:
            data = os.read(fd, 65536)
        except OSError:  # the command has closed the terminal
            break
        if not data:
            break
        raw += data
        screen.feed(decoder.decode(data))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if options.raw:
        open(options.raw, "wb").write(raw)
    return screen, status


def paint(screen, path):
    """The screen as a picture, for people: braille drawn as dots."""
    from PIL import Image, ImageDraw, ImageFont
    wide, high, colours = 10, 20, {"2": "#888888", "38;5;32": "#0087d7", "38;5;208": "#ff8700", "38;5;36": "#00af87"}
    folder = "/usr/share/fonts/truetype/dejavu/"
    font = ImageFont.truetype(folder + "DejaVuSansMono.ttf", 16)
    lines = screen.lines[screen.top:]
    image = Image.new("RGB", (wide * screen.columns + 20, high * len(lines) + 20), "#16181d")
    draw = ImageDraw.Draw(image)
    for y, line in enumerate(lines):
        for x, (character, colour) in enumerate(line):
            ink = colours.get(colour.removeprefix("0;"), "#d8dbe2")
            left, top = 10 + wide * x, 10 + high * y
            if 0x2800 <= ord(character) < 0x2900:
                for bit, (i, j) in enumerate(((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))):
                    if ord(character) >> bit & 1:
                        cx, cy = left + 2.5 + 5 * i, top + 2.5 + 5 * j
                        draw.ellipse((cx - 1.8, cy - 1.8, cx + 1.8, cy + 1.8), fill=ink)
            else:
                draw.text((left, top), character, font=font, fill=ink)
    image.save(path, optimize=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="80x24")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--resize", action="append", default=[])
    parser.add_argument("--signal", action="append", default=[])
    parser.add_argument("--shell", action="store_true")
    parser.add_argument("--stall", type=float, default=0)
    parser.add_argument("--file")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--raw")
    parser.add_argument("--png")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    screen, status = run(options)
    print(screen.text())
    where = "below" if screen.row >= len([line for line in screen.lines if line]) and screen.column == 0 else \
        f"in row {screen.row - screen.top}, column {screen.column}"
    print(f"# cursor {'shown' if screen.visible else 'hidden'}, {where}")
    print(f"# ran over {screen.ran_over}")
    print(f"# at most {screen.most_pictures()} pictures a second")
    print(f"# status {status if status >= 0 else signal.Signals(-status).name}")
    if options.png:
        paint(screen, options.png)


if __name__ == "__main__":
    sys.exit(main())
