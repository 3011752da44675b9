"""``doctor``: whether the caches of a config work, and what to fix."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from codomyrmex.cache import CacheConfigError, CacheError, CacheManager, PluginInfo

from ._check import Check, check
from ._errors import one_line
from ._output import NONE, print_json, print_table

_CONFIG_VARIABLE = "CODOMYRMEX_CACHE_CONFIG"
_REMARKABLE = frozenset({"blocked", "conflict", "failed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What was found out about a config.

    Attributes:
        config: The file; None if there is none.
        caches: The check of every cache.
        problems: What is wrong outside of the caches.
        plugins: Those that are blocked, failed or claimed twice; no problem as long as no cache needs them.
    """

    config: str | None
    caches: tuple[Check, ...] = ()
    problems: tuple[str, ...] = ()
    plugins: tuple[PluginInfo, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything that the config names works."""
        return not self.problems and all(one.ok for one in self.caches)


def show(config: Path | None, as_json: bool) -> int:
    """Check a config and print the diagnosis; returns 1 if there is a problem.

    Args:
        config: The file; None for the one that the environment names, if any.
        as_json: Whether to print JSON.
    """
    diagnosis = diagnose(config)
    if as_json:
        print_json({"ok": diagnosis.ok, **_plain(asdict(diagnosis))})
    else:
        _print(diagnosis)
    return 0 if diagnosis.ok else 1


def diagnose(config: Path | None) -> Diagnosis:
    """Check every cache of a config, and what else it names."""
    named = str(config) if config else os.environ.get(_CONFIG_VARIABLE) or None
    try:
        with CacheManager(named, exporting=False) as manager:
            return examine(manager, named, _sections(named) if named else {})
    except CacheConfigError as error:
        return Diagnosis(config=named, problems=(str(error),))


def examine(manager: CacheManager, named: str | None, sections: Mapping[str, Any]) -> Diagnosis:
    """Check every cache of ``manager``.

    Args:
        manager: Made from the config.
        named: The config's file.
        sections: The config's sections.
    """
    names = manager.list_caches()
    checks = [check(manager, name) for name in names]
    if not names:
        checks.append(check(manager, "default"))
    elif "defaults" in sections:
        free = "default" if "default" not in names else "codomyrmex-cache-doctor"
        checks.append(check(manager, free, label="[defaults]"))
    return Diagnosis(
        config=named,
        caches=tuple(checks),
        problems=tuple(_exporter_problems(sections)),
        plugins=tuple(info for info in manager.plugins() if info.state in _REMARKABLE),
    )


def _exporter_problems(sections: Mapping[str, Any]) -> Iterator[str]:
    """What keeps exporters from being made. None is called, and one after the other so that each problem shows."""
    named = cast("Mapping[str, Any] | Sequence[str]", sections.get("exporters", ()))
    for name in named:
        one = {name: named[name]} if isinstance(named, Mapping) else [name]
        try:
            with CacheManager({**sections, "exporters": one}) as manager:
                manager.exporters()
        except CacheError as error:
            yield str(error)


def _sections(named: str) -> Mapping[str, Any]:
    """The sections of a file that `CacheManager` has accepted."""
    path = Path(named).expanduser()
    content = tomllib.loads(path.read_text("utf-8"))
    if path.name == "pyproject.toml":
        return content["tool"]["codomyrmex"]["cache"]  # type: ignore[no-any-return]
    return content


def _print(diagnosis: Diagnosis) -> None:
    print(f"config: {diagnosis.config or 'none, so every cache has the default settings'}")
    if diagnosis.caches:
        print_table(("cache", "backend", "ping", "result"), map(_cells, diagnosis.caches), ("ping",))
    for one in diagnosis.caches:
        if one.detail:
            print(f"{'note' if one.ok else 'problem'}: {_about(one.cache, one.detail)}")
        for finding in one.findings:
            if finding.text not in one.detail:
                print(f"{finding.level}: {_about(one.cache, finding.text)}")
    for problem in diagnosis.problems:
        print(f"problem: {problem}")
    for info in diagnosis.plugins:
        source = f"{info.distribution} {info.version}, {info.target}"
        print(f"{info.state}: {info.name} of {info.kind} ({source}): {one_line(info.detail)}")
    count = len(diagnosis.problems) + sum(not one.ok for one in diagnosis.caches)
    print("all is well" if diagnosis.ok else f"{count} problem{'s' if count > 1 else ''}")


def _about(cache: str, text: str) -> str:
    """``text`` with the name of the cache, in one line; an error says it itself."""
    return one_line(text if text.startswith(f"cache {cache!r}") else f"{cache}: {text}")


def _plain(diagnosis: dict[str, Any]) -> dict[str, Any]:
    """With findings as objects: JSON would make lists of them, in which nothing has a name."""
    for one in diagnosis["caches"]:
        one["findings"] = [{"level": level, "text": text} for level, text in one["findings"]]
    return diagnosis


def _cells(one: Check) -> list[str]:
    ping = NONE if one.ping_seconds is None else f"{one.ping_seconds * 1000:.3f} ms"
    return [one.cache, one.backend or NONE, ping, "ok" if one.ok else "problem"]
