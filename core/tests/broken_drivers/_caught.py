"""`caught_by`: says which laws find a driver's mistake."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T", bound=type[Any])


@dataclass(frozen=True)
class Broken:
    """A driver with a mistake.

    Attributes:
        driver: Its class.
        laws: Names of the laws that have to fail.
        views: In which views.
        raises: How they fail.
    """

    driver: type[Any]
    laws: tuple[str, ...]
    views: tuple[str, ...]
    raises: type[BaseException]


BROKEN: list[Broken] = []


def caught_by(
    *laws: str, views: tuple[str, ...] = ("sync", "async"), raises: type[BaseException] = AssertionError
) -> Callable[[T], T]:
    """Note that ``laws`` fail on the decorated driver."""

    def note(driver: T) -> T:
        BROKEN.append(Broken(driver, laws, views, raises))
        return driver

    return note
