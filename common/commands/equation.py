"""Sums and differences of digits as people write them: "9 - 4 + 6"."""

import re
from typing import NamedTuple

from common.commands.digit_reader import check_digit
from common.errors import UserError
from common.safe_read import one_line

MAX_TERMS = 8
MAX_CHARACTERS = 100
MINUS = "\N{MINUS SIGN}"
EXAMPLE = 'write it like "9 - 4 + 6"'


class Term(NamedTuple):
    """A digit, and whether it is added (1) or taken away (-1)."""

    sign: int
    digit: int


def parse_equation(text: str) -> list[Term]:
    """The terms in order, the first of them without a sign; UserError for anything else.

    The minus that our own picture shows is as good as the keyboard's.
    """
    name = f'"{one_line(text)}"'
    words = re.findall(r"[0-9]+|\S", text[:MAX_CHARACTERS].replace(MINUS, "-"))
    if len(text) > MAX_CHARACTERS or len(words) >= 2 * MAX_TERMS:
        raise UserError(f"{name} is too long: {MAX_TERMS} digits at most")
    signs, numbers = ["+", *words[1::2]], words[::2]
    if (
        len(signs) != len(numbers)
        or not all(sign in ("+", "-") for sign in signs)
        or not all(re.fullmatch("[0-9]+", number) for number in numbers)
    ):
        raise UserError(f"{name} is no sum or difference of digits: {EXAMPLE}")
    terms = [Term(1 if sign == "+" else -1, int(number)) for sign, number in zip(signs, numbers, strict=True)]
    for term in terms:
        check_digit(f"a term of {name}", term.digit)
    if not any(sum(term.sign for term in terms if term.digit == digit) for digit in range(10)):
        raise UserError(f"{name} cancels out, and no direction is left: {EXAMPLE}")
    return terms


def written(terms: list[Term], *, minus: str = MINUS) -> str:
    """The terms with one space around each sign."""
    first, *others = terms
    return str(first.digit) + "".join(f" {sign_of(term, minus=minus)} {term.digit}" for term in others)


def sign_of(term: Term, *, minus: str = MINUS) -> str:
    """+ or -, in a picture the minus that is as wide; not every console can print that."""
    return "+" if term.sign > 0 else minus
