"""Documents as people and machines break them: made from the shipped ones, the same for the same seed."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator

from django_workflow.definition import documents
from tests.definition.documents.conftest import SHIPPED

SIGNS = "{}[]:,-#&*!|>'\"%@`?\t \n\r\0\x07\x85\u2028\ufeff\ud800é0aA_.~<"
WORDS = (
    *("slug", "steps", "next", "to", "on", "when", "otherwise", "publish", "delay", "map", "over", "join", "retry"),
    *("null", "true", "1e999", "-5", "5s", "999999999999999d", "[]", "{}", "*a", "&a", "!!python/name:os.system", "<<"),
    *("__class__", "input", "fail", "a" * 200, "9" * 400, "---", "...", "lambda: 0", "x.__class__", "(" * 90, "'"),
)
VALUES = (None, True, 0, -1, 10**25, 1.5, "", "x", "input", "5s", "nowhere", [], [[]], {}, {"a": 1}, ["a", {}], "\0")


def texts(count: int, seed: int) -> Iterator[str | bytes]:
    """Yield broken documents."""
    choice = random.Random(seed)
    whole = [path.read_text() for path in SHIPPED]
    plain = [documents.write(documents.read(text).draft, "json") for text in whole]
    kinds = (_cut, _signs, _words, _lines, _bytes, _nested, _values, _values, _values, _keys, _noise)
    for number in range(count):
        yield kinds[number % len(kinds)](choice, choice.choice(whole), choice.choice(plain))


def _cut(choice, text, plain):
    text = choice.choice((text, plain))
    return text[: choice.randrange(len(text))] if choice.random() < 0.7 else text[choice.randrange(len(text)) :]


def _signs(choice, text, plain):
    signs = list(choice.choice((text, plain)))
    for _ in range(choice.randint(1, 6)):
        place = choice.randrange(len(signs))
        signs[place : place + choice.randint(0, 2)] = choice.choice(SIGNS)
    return "".join(signs)


def _words(choice, text, plain):
    words = choice.choice((text, plain)).split(" ")
    for _ in range(choice.randint(1, 4)):
        words[choice.randrange(len(words))] = choice.choice(WORDS)
    return " ".join(words)


def _lines(choice, text, plain):
    lines = text.splitlines()
    for _ in range(choice.randint(1, 4)):
        place = choice.randrange(len(lines))
        match choice.randrange(4):
            case 0:
                lines.insert(place, choice.choice(lines))
            case 1:
                del lines[place]
            case 2:
                lines[place] = " " * choice.randint(1, 5) + lines[place].lstrip()
            case 3:
                lines[place], lines[-1] = lines[-1], lines[place]
        lines = lines or [""]
    return "\n".join(lines)


def _bytes(choice, text, plain):
    data = bytearray(text.encode())
    for _ in range(choice.randint(1, 4)):
        data[choice.randrange(len(data))] = choice.randrange(256)
    return bytes(data)


def _nested(choice, text, plain):
    depth = choice.choice((10, 60, 70, 1000, 20_000))
    opening, closing = choice.choice((("[", "]"), ('{"a":', "}"), ("- ", ""), ("? ", ""), ("a:\n ", "")))
    return choice.choice(("", "slug: x\nvars: ")) + opening * depth + "1" + closing * depth


def _values(choice, text, plain):
    data = json.loads(plain)
    for _ in range(choice.randint(1, 5)):
        holder, key = choice.choice(list(_places(data)))
        holder[key] = copy.deepcopy(choice.choice(VALUES))
    return choice.choice(("", "# as YAML\n")) + json.dumps(data)


def _keys(choice, text, plain):
    data = json.loads(plain)
    for _ in range(choice.randint(1, 5)):
        holder, key = choice.choice(list(_places(data)))
        if isinstance(holder, dict):
            holder[choice.choice(WORDS)] = (
                holder.pop(key) if choice.random() < 0.5 else copy.deepcopy(choice.choice(VALUES))
            )
    return choice.choice(("", "# as YAML\n")) + json.dumps(data)


def _noise(choice, text, plain):
    return "".join(choice.choice(SIGNS) for _ in range(choice.randint(0, 300)))


def _places(data):
    """Yield every object and list with each of its keys."""
    keys = list(data) if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
    for key in keys:
        yield data, key
        yield from _places(data[key])
