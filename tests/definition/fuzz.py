"""Expressions nobody would write: made from the language's grammar, broken, and mixed with hostile material."""

from __future__ import annotations

from inspect import signature
from random import Random

from django_workflow.definition.expressions.functions import FUNCTIONS


def words(text: str) -> list[str]:
    """Return the words of a text."""
    return text.split()


NAMES = ["input", "result", "status", "error", "vars", "outputs", "iteration", "item", "index"]
KEYS = words("customer country lines reserve items sku qty total pop clear secret missing a")
PATHS = words("input.lines input.customer result[0].sku outputs.reserve.items outputs.reserve vars.text vars.a")
TEXTS = words(r"""'' 'a' 'country' "DE" '(a+)+$' r'\d+' '\d' 'ä€😀' '{0.__class__}' '%s' '''x''' '\x00'""")
NUMBERS = words("0 1 -1 2 7 0.5 1e9 1e308 1e999 99999999999999999999 0x10 1_000 1j")
CONSTANTS = words("True False None true false null [] {} ()")
BINARY = ["is not", "not in", *words("+ - * / // % ** == != < <= > >= in is and or")]
LINES = "input.lines"
#: What is no part of the language, or is not meant to be used so; {} is replaced by an expression.
HOSTILE = [
    *("{}.__class__", "{}.__class__.__base__.__subclasses__()", "{}.__dict__", "{}.__init__.__globals__", "{}.secret"),
    *("{}.pop()", "{}.clear()", "{}.update(a=1)", "{}.append({})", "{}.format({})", "{}.keys()", "{}.get('a')"),
    *("f'{{{}}}'", "f'{{{}!r:>{{{}}}}}'", "'{{}}'.format({})", "'%s' % {}", "'%999999999d' % {}", "b'x' + {}"),
    *("lambda: {}", "(lambda x: {})({})", "(x := {})", "[*{}]", "{{**{}}}", "len(*{})", "max(**{})", "min({}, key={})"),
    *("{{x for x in {}}}", "[x async for x in {}]", "[{} for x.y in {}]", "[{} for x in {} for x in {}]", "await {}"),
    *(
        "yield {}",
        "{} if {}",
        "{} ** {} ** 9999999",
        "9 ** 9 ** 9 + {}",
        "{} * 10 ** 10",
        "'x' * 10 ** 10 + {}",
        "1 << {}",
    ),
    *(
        "[[{}]] * 10 ** 9",
        "{}[::-1]",
        "{}[10 ** 30]",
        "{}[::0]",
        "{}[{}:{}]",
        "~{}",
        "{} @ {}",
        "{} | {}",
        "...",
        "{}, {}",
    ),
    *(
        "__import__('os').system({})",
        "eval({})",
        "exec({})",
        "open({})",
        "getattr({}, {})",
        "type({})",
        "vars({})",
        "dir()",
    ),
    *(
        "globals()",
        "print({})",
        "__builtins__",
        "int({}, 36)",
        "str({}, 'utf-8')",
        "sum({}, [])",
        "round({}, -999999999)",
    ),
    *("matches({}, '((a*)*)*b')", "matches({}, '(a|aa)+$')", "matches({}, {})", "join({}, {})", "split({}, {})"),
    *(
        "sorted([{}, {}])",
        "unique([{}, {}])",
        "str({}) * 3",
        "[y for x in {} for y in [x + x, x * x]]",
        "{}\x00",
        "\ud800{}",
    ),
    *(
        "[[x, x] for x in [{}] for x in [[x, x]] for x in [[x, x]]]",
        "[0 for x in input.lines for y in input.lines if {}]",
    ),
    *(
        "# {}",
        "{} # comment",
        "{};{}",
        "{}\n{}",
        "\\\n{}",
        "import os",
        "x = {}",
        "del {}",
        "{}:{}",
        "@{}",
        "`{}`",
        "${}",
    ),
]
CHARACTERS = "()[]{}'\"\\.,:=+-*/%<>!_ \t\n#@~^&|?0aex\x00\x7f\x80ßäﬁ𝐱①²\u202e\u2028\ufeff\ud83d😀"


def counts(name: str) -> list[int]:
    """Return how many arguments a function takes."""
    taken = [item for item in signature(FUNCTIONS[name]).parameters.values() if item.name != "spend"]
    if any(item.kind is item.VAR_POSITIONAL for item in taken):
        return [1, 2, 3]
    return list(range(sum(item.default is item.empty for item in taken), len(taken) + 1))


COUNTS = {name: counts(name) for name in FUNCTIONS}


class Author:
    """Writes expressions; the same seed writes the same ones."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def expression(self) -> str:
        """Return one that may be right, hostile, broken, or none at all."""
        kind = self.random.random()
        if kind < 0.6:
            return self.part(self.random.randint(1, 5))
        if kind < 0.8:
            return self.hostile(self.random.randint(0, 3))
        if kind < 0.95:
            return self.broken(self.part(4) if kind < 0.9 else self.hostile(3))
        if kind < 0.98:
            return "".join(self.random.choices(CHARACTERS, k=self.random.randint(0, 60)))
        return self.large()

    def part(self, depth: int) -> str:
        """Return an expression of the grammar."""
        if depth <= 0:
            return self.leaf()
        forms = (
            *(self.leaf, self.binary, self.binary, self.unary, self.reading, self.reading, self.call, self.call),
            *(self.choice, self.display, self.loop),
        )
        form = self.random.choice(forms)
        return form() if form == self.leaf else form(depth - 1)

    def leaf(self) -> str:
        return self.random.choice(self.random.choice((NAMES, PATHS, PATHS, TEXTS, NUMBERS, NUMBERS, CONSTANTS, ["x"])))

    def binary(self, depth: int) -> str:
        return f"({self.part(depth)} {self.random.choice(BINARY)} {self.part(depth)})"

    def unary(self, depth: int) -> str:
        return f"{self.random.choice(('not ', '-', '+'))}{self.part(depth)}"

    def reading(self, depth: int) -> str:
        key = self.random.choice(KEYS)
        ending = self.random.choice((f".{key}", f"[{key!r}]", "[0]", "[-1]", "[1:]", f"[{self.leaf()}]"))
        return self.part(depth) + ending

    def call(self, depth: int) -> str:
        name = self.random.choice(list(FUNCTIONS))
        count = self.random.choice(COUNTS[name]) if self.random.random() < 0.9 else self.random.randint(0, 3)
        return f"{name}({', '.join(self.part(depth) for _ in range(count))})"

    def choice(self, depth: int) -> str:
        return f"({self.part(depth)} if {self.part(depth)} else {self.part(depth)})"

    def display(self, depth: int) -> str:
        parts = [self.part(depth) for _ in range(self.random.randint(0, 3))]
        if self.random.random() < 0.3:
            return "{" + ", ".join(f"{self.random.choice(TEXTS)}: {part}" for part in parts) + "}"
        opening, closing = self.random.choice(("[]", "()", "{}"))
        return f"{opening}{', '.join(parts)}{closing}"

    def loop(self, depth: int) -> str:
        target, ending = self.random.choice(("x", "x", "item", "(x, y)")), f" if {self.part(depth)}"
        inner = f"{self.part(depth)} for {target} in {self.part(depth)}" + self.random.choice(("", ending))
        form = self.random.choice(("[{}]", "any({})", "sum({})", "{{str(x): {}}}"))
        return form.format(inner)

    def hostile(self, depth: int) -> str:
        """Return hostile material around expressions."""
        template = self.random.choice(HOSTILE)
        return template.format(*(self.part(depth) for _ in range(6)))

    def broken(self, text: str) -> str:
        """Return a text with some of it missing, doubled, or something else in between."""
        for _ in range(self.random.randint(1, 4)):
            begin = self.random.randint(0, len(text))
            end = min(len(text), begin + self.random.randint(0, 5))
            kind = self.random.random()
            piece = self.random.choice(CHARACTERS) if kind < 0.5 else "" if kind < 0.75 else text[begin:end] * 2
            text = text[:begin] + piece + text[end:]
        return text

    def large(self) -> str:
        """Return a long or deeply nested one, or one that never ends."""
        if self.random.random() < 0.01:
            return f"[{self.part(2)} for x in {LINES} for y in {LINES} for item in {LINES} for index in {LINES}]"
        times = self.random.choice((10, 45, 60, 150, 600))
        opening, closing = self.random.choice(
            (
                ("(", ")"),
                ("[", "]"),
                ("{'a': ", "}"),
                ("-", ""),
                ("not ", ""),
                ("len(", ")"),
                ("x[", "]"),
                ("(", ""),
                ("1 + ", ""),
            )
        )
        return opening * times + self.part(2) + closing * times
