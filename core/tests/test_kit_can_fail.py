"""Proof that the conformance kit can fail: it finds the mistake of every driver of broken_drivers/.

A kit that passes good drivers may still be one that passes all. So its laws run, in a pytest of their own, on drivers
with one mistake each, and have to fail by an assertion; on the drivers that these are derived from, the same laws have
to pass.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import dict_driver
import pytest
import sound_drivers
from broken_drivers import BROKEN, Broken
from hypothesis import Phase, settings
from sound_drivers import FileDriver

from codomyrmex.cache import CacheManager
from codomyrmex.cache.backend import AsyncBackend, Backend
from codomyrmex.cache.testing import BackendContract, _laws_loads, _laws_time

HERE = Path(__file__).parent

IN_NO_DRIVERS_HANDS = {
    "test_bad_namespaces": "a namespace is made above the driver, which is not asked",
}
"""Laws that no mistake of a driver can break, and why."""

MODULE = """
import pytest
from sound_drivers import plugin_for, settings_for
from {driver.__module__} import {driver.__name__} as driver

from codomyrmex.cache.testing import BackendContract


class TestDriver(BackendContract):
    plugin = plugin_for(driver)
    machine_runs = {machine_runs}

    @pytest.fixture
    def cache_settings(self, tmp_path):
        return settings_for(driver, tmp_path)
"""

Errors: TypeAlias = "dict[tuple[str, str], list[BaseException | None]]"


@dataclass(eq=False)
class Outcomes:
    """A pytest plugin: what became of every law, in every view.

    Attributes:
        errors: Whatever the calls of a law raised, None for those that passed, by law and view.
        problems: What went wrong elsewhere: while collecting, in fixtures.
    """

    errors: Errors = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.problems.append(report.longreprtext)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: Any, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        error = None if call.excinfo is None else call.excinfo.value
        if call.when == "call":
            self.errors.setdefault((item.originalname, view_of(item)), []).append(error)
        elif error is not None:
            self.problems.append(f"{item.nodeid}, {call.when}: {error!r}")
        return (yield)


def view_of(item: Any) -> str:
    """The view a test runs in; the state machine uses both."""
    return str(item.callspec.params.get("view", "both")) if hasattr(item, "callspec") else "both"


def sound(driver: type[Any]) -> type[Any]:
    """What a driver is derived from."""
    modules = (dict_driver.__name__, sound_drivers.__name__)
    return next(base for base in driver.__mro__ if base.__module__ in modules)


def run(driver: type[Any], laws: Iterable[str], directory: Path, machine_runs: int) -> Errors:
    """Run ``laws`` of the kit on ``driver``."""
    module, config = directory / f"test_{driver.__name__}.py", directory / "pytest.ini"
    module.write_text(MODULE.format(driver=driver, machine_runs=machine_runs), "utf-8")
    # Threads of a law may die; what counts is whether the law notices.
    config.write_text("[pytest]\nfilterwarnings = ignore::pytest.PytestUnhandledThreadExceptionWarning\n", "utf-8")
    outcomes = Outcomes()
    # Nothing is captured, so that what this run prints is in the report of a test of this file that fails. The plugin
    # for unraisable exceptions collects all garbage five times a run, and the run around this one has it too.
    basetemp = f"--basetemp={directory / 'tmp'}"
    without = [word for name in ("cacheprovider", "unraisableexception") for word in ("-p", f"no:{name}")]
    options = ["-c", str(config), "--import-mode=importlib", "--capture=no", "--tb=short", basetemp, *without]
    pytest.main([*options, *(f"{module}::TestDriver::{law}" for law in sorted(laws))], plugins=[outcomes])
    sys.modules.pop(module.stem, None)  # it would keep all that the run has left
    assert outcomes.problems == []
    return outcomes.errors


def views_of(law: str, broken: Broken) -> tuple[str, ...]:
    """The views in which ``law`` has to find a mistake."""
    return ("both",) if law == "test_state_machine" else broken.views


def is_finding(error: BaseException, expected: type[BaseException]) -> bool:
    """Whether ``error`` is the failure of a law, not of the machinery."""
    # An error that pytest.raises has missed is no AssertionError. The same kind says that pytest-timeout was here.
    missed = isinstance(error, pytest.fail.Exception) and "Timeout" not in str(error)
    return missed or isinstance(error, expected)


@pytest.fixture(scope="module", autouse=True)
def repeatable() -> Iterator[None]:
    """The state machine draws the same sequences every time, and is content with the first that fails."""
    settings.register_profile("before", settings.default)
    settings.register_profile(
        "repeatable", derandomize=True, database=None, phases=[Phase.generate], report_multiple_bugs=False
    )
    settings.load_profile("repeatable")
    yield
    settings.load_profile("before")


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Drivers of shared stores are installed, also for other processes."""
    site = tmp_path_factory.mktemp("site")
    info = site / "broken_drivers-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-drivers\nVersion: 1.0\n", "utf-8")
    shared: list[type[Any]] = [FileDriver]
    shared += [broken.driver for broken in BROKEN if issubclass(broken.driver, FileDriver)]
    targets = [f"{driver.__name__} = {driver.__module__}:{driver.__name__}\n" for driver in shared]
    (info / "entry_points.txt").write_text("[codomyrmex.cache.backends]\n" + "".join(targets), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(HERE)]), prepend=os.pathsep)
        patch.delenv("PYTEST_ADDOPTS", raising=False)  # meant for the run around this one
        CacheManager(environ={}).plugins(refresh=True)
        yield
    CacheManager(environ={}).plugins(refresh=True)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.driver.__name__)
def test_a_mistake_is_found(broken: Broken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the laws that have to catch a mistake fails because of what it asserts, in every view."""
    for module in (_laws_time, _laws_loads):
        monkeypatch.setattr(module, "PATIENCE", 1.5)  # a law that fails waits to the end
    errors = run(broken.driver, broken.laws, tmp_path, machine_runs=1000)
    expected = {(law, view) for law in broken.laws for view in views_of(law, broken)}
    raised = {key: [error for error in errors[key] if error is not None] for key in expected}
    assert [key for key in expected if not raised[key]] == [], "laws pass in spite of the mistake"
    strange = [error for errors in raised.values() for error in errors if not is_finding(error, broken.raises)]
    assert strange == [], "laws fail for another reason"


@pytest.mark.parametrize("driver", sorted({sound(broken.driver) for broken in BROKEN}, key=str))
def test_a_sound_driver_passes(driver: type[Any], tmp_path: Path) -> None:
    """All laws that catch a mistake pass on the driver that is the same but for the mistake, and none is skipped."""
    laws = {law for broken in BROKEN if sound(broken.driver) is driver for law in broken.laws}
    errors = run(driver, laws, tmp_path, machine_runs=20)
    assert {law for law, _ in errors} == laws
    assert {key: raised for key, raised in errors.items() if any(raised)} == {}


def test_every_law_can_fail() -> None:
    """Every law of the kit is caught failing, in either view: a law that nothing can break says nothing."""
    laws = {name for name in dir(BackendContract) if name.startswith("test_")}
    for view in ("sync", "async"):
        caught = {law for broken in BROKEN if view in broken.views for law in broken.laws}
        assert sorted(laws - set(IN_NO_DRIVERS_HANDS) - caught) == [], "laws that need a driver in broken_drivers/"
        assert sorted(caught - laws) == [], "laws that the kit doesn't have"
    assert sorted(set(IN_NO_DRIVERS_HANDS) - laws) == []


def test_every_driver_is_used() -> None:
    """No driver with a mistake stands about without laws that catch it."""
    modules = {name: module for name, module in sys.modules.items() if name.startswith("broken_drivers.")}
    defined = {
        thing.__qualname__
        for name, module in modules.items()
        for thing in vars(module).values()
        if isinstance(thing, type) and thing.__module__ == name and issubclass(thing, (Backend, AsyncBackend))
    }
    used = {broken.driver.__qualname__ for broken in BROKEN}
    assert used == {name for name in defined if not name.startswith("_")}
