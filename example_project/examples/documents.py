"""What the documents in docs/examples do: small functions registered by name, which any flow may use.

None of them knows the steps of a flow. What they need is given to them by `arguments:` in the document.
"""

from __future__ import annotations

import csv
import re
import shutil
from collections import Counter
from pathlib import Path
from string import Template
from typing import Any

from django_workflow import handler
from example_project import pace


@handler("text.clean")
def clean(text: str) -> str:
    """Put one space where there are several."""
    return re.sub(r"\s+", " ", text).strip()


@handler("text.count_words")
def count_words(text: str) -> dict[str, Any]:
    """Count words, and find the most frequent one."""
    words = Counter(re.findall(r"\w+", text.lower()))
    return {"words": words.total(), "top": min(words, key=lambda word: (-words[word], word), default=None)}


@handler("text.chapters")
def chapters(text: str) -> list[str]:
    """Cut a text where an empty line is."""
    return [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]


@handler("text.longest_line")
def longest_line(text: str) -> str:
    """Find the longest line."""
    return max(text.splitlines(), key=len, default="")


@handler("text.fill")
def fill(template: str, values: dict[str, Any]) -> str:
    """Put values in the places that `$name` marks."""
    return Template(template).substitute(values)


@handler("disk.measure")
def measure(folder: str) -> dict[str, float]:
    """Look at how much of a folder's disk is free."""
    usage = shutil.disk_usage(folder)
    return {"free": round(usage.free / usage.total, 3)}


@handler("files.write")
def write(path: str, text: str) -> int:
    """Write a text; fails where its folder does not exist."""
    return Path(path).write_text(text, encoding="utf-8")


@handler("files.make_folder")
def make_folder(path: str) -> None:
    """Make the folder that a file is to be in."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)


@handler("files.size")
def size(path: str) -> int:
    """Return how many bytes a file has."""
    return Path(path).stat().st_size


@handler("pages.read")
def read_page(items: list[Any], page: int, size: int) -> dict[str, Any]:
    """Return one page of a list, the first is 1."""
    begin = (page - 1) * size
    return {"items": items[begin : begin + size], "has_more": begin + size < len(items)}


@handler("spam.capitals")
def capitals(text: str) -> bool:
    """Judge by how loud a message is."""
    pace.take_time(0.5)
    letters = [sign for sign in text if sign.isalpha()]
    return sum(sign.isupper() for sign in letters) * 2 > len(letters)


@handler("spam.links")
def links(text: str) -> bool:
    """Judge by how many links it has."""
    pace.take_time(0.5)
    return len(re.findall(r"https?://", text)) > 2


@handler("spam.promises")
def promises(text: str) -> bool:
    """Judge by what it promises."""
    pace.take_time(0.5)
    return re.search(r"\b(free|winner|prize|million)\b", text.lower()) is not None


@handler("spam.decide")
def decide(votes: list[bool]) -> str:
    """Take for spam what all who were asked take for it."""
    return f"{'spam' if all(votes) else 'no spam'}, by {len(votes)} votes"


@handler("table.read")
def read_table(text: str) -> list[dict[str, str]]:
    """Read CSV text; fails where a row has not as many cells as the first one."""
    rows = list(csv.DictReader(text.splitlines()))
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise ValueError(f"line {number} has another number of cells than the first")
    return rows


@handler("table.total")
def total(rows: list[dict[str, str]], column: str) -> float:
    """Add up a column."""
    return sum(float(row[column]) for row in rows)


@handler("shop.stock")
def stock(goods: dict[str, int], deliveries: int) -> dict[str, int]:
    """Count what is there; each delivery brings ten of everything."""
    pace.take_time(0.5)
    return {name: count + 10 * deliveries for name, count in goods.items()}


@handler("shop.demand")
def demand(orders: list[dict[str, Any]]) -> dict[str, int]:
    """Add up what was ordered."""
    pace.take_time(0.5)
    wanted: Counter[str] = Counter()
    for order in orders:
        wanted[order["good"]] += order["count"]
    return dict(wanted)


@handler("shop.missing")
def missing(stock: dict[str, int], demand: dict[str, int]) -> dict[str, int]:
    """Return how many of each good are missing."""
    pace.take_time(0.5)
    return {name: count - stock.get(name, 0) for name, count in demand.items() if count > stock.get(name, 0)}
