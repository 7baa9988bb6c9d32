"""The tutorial, and the page on documents, followed from the first line to the last in an empty folder."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.docs.pages import DOCUMENTS, ROOT, TUTORIAL, blocks

#: What the test environment has already: a Python, the package, an activated environment.
GIVEN = ("python3 -m venv", ". venv/", "pip install")
#: Waiting is shorter here than for a reader.
FASTER = {"time.sleep(1)": "time.sleep(0.5)", "--lease 5": "--lease 2"}
SESSION = """
import doctest, os, sys
import django
os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
django.setup()
flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
failed, tried = doctest.testfile(sys.argv[1], module_relative=False, optionflags=flags)
sys.exit(1 if failed or not tried else 0)
"""


class Reader:
    """Somebody who does what the page says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.worker = None
        self.log = (folder / "worker.log").open("w")
        programs = folder / "programs"
        programs.mkdir()
        (programs / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        (programs / "python").chmod(0o755)
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("DJANGO_")},
            "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)]),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.environment.pop("DATABASE_URL", None)

    def follow(self, block, before):
        """Do what one block says."""
        text = block.text
        for slow, fast in FASTER.items():
            text = text.replace(slow, fast)
        if "<!-- stop -->" in before:
            self.stop()
        if "<!-- kill -->" in before:
            time.sleep(1.2)
            self.worker.kill()
            self.worker.wait()
        if block.kind in ("python", "yaml"):
            self.write(block.options["caption"], text)
        elif block.kind == "pycon":
            self.talk(text, block.place)
        elif block.kind == "console":
            self.command(text, block.place, stays="<!-- background -->" in before, fails="<!-- fails -->" in before)
        else:
            raise AssertionError(f"{block.place}: what is a reader to do with {block.kind!r}?")

    def write(self, caption, text):
        name, _, where = caption.partition(", ")
        with (self.folder / name).open("a" if where == "at its end" else "w") as file:
            file.write(f"\n\n{text}" if where else text.lstrip("\n"))

    def talk(self, text, place):
        session = self.folder / "session.txt"
        session.write_text(text)
        done = self.run([sys.executable, "-c", SESSION, str(session)])
        assert done.returncode == 0, f"{place}\n{done.stdout}{done.stderr}{self.told()}"

    def command(self, text, place, *, stays, fails=False):
        for line, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
            if line.startswith(GIVEN):
                continue
            if stays:
                words = [sys.executable if word == "python" else word for word in line.split()]
                self.worker = subprocess.Popen(words, cwd=self.folder, env=self.environment, stderr=self.log)
                continue
            done = self.run(["sh", "-c", line.replace("django-admin", "python -m django")])
            output = done.stdout + done.stderr
            assert (done.returncode != 0) == fails, f"{place}: {line}\n{output}"
            expected = ".*".join(re.escape(part.strip()) for part in shown.split("..."))
            assert re.search(expected, output, re.DOTALL), f"{place}: {line}\n{output}"

    def run(self, words):
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            words, cwd=self.folder, env=self.environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )
        try:
            output, errors = process.communicate(timeout=120)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # with what it started
            raise
        return subprocess.CompletedProcess(words, process.returncode, output, errors)

    def stop(self):
        """End the worker in the second terminal, which must go cleanly."""
        if self.worker is not None and self.worker.poll() is None:
            self.worker.send_signal(signal.SIGINT)
            assert self.worker.wait(30) == 130, self.told()

    def told(self):
        return (self.folder / "worker.log").read_text()


@pytest.fixture
def reader(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    reader = Reader(folder)
    yield reader
    if reader.worker is not None and reader.worker.poll() is None:
        reader.worker.kill()
        reader.worker.wait()
    reader.log.close()
    reader.run([sys.executable, "-m", "django_workflow.contrib.embedded", "stop", "--mode", "immediate"])
    shutil.rmtree(folder, ignore_errors=True)


def follow(reader, page, last=None):
    """Do what a page says, up to a heading."""
    lines = page.read_text().splitlines()
    end = lines.index(last) if last else len(lines)
    for block in blocks(page):
        if block.line > end:
            return
        head = block.line - 2 - len(block.options)
        before = []
        while head > 0 and (lines[head - 1].startswith("<!--") or not lines[head - 1]):
            head -= 1
            before.append(lines[head])
        reader.follow(block, "\n".join(before))


@pytest.mark.slow
def test_tutorial_works_as_it_is_written(reader):
    follow(reader, TUTORIAL)


@pytest.mark.slow
def test_documents_work_as_their_page_tells(reader):
    follow(reader, TUTORIAL, last="## A flow")
    follow(reader, DOCUMENTS)
