"""Tables and figures for people."""

from __future__ import annotations

import pytest

from codomyrmex_cache_cli._output import print_table, seconds, size


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "–"), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536 * 1024, "1.5 MiB"), (3 * 2**40, "3072.0 GiB")],
)
def test_sizes_are_in_the_largest_unit_that_fits(count: int | None, text: str) -> None:
    """Binary units, one decimal; a dash for what is not known."""
    assert text == size(count)


@pytest.mark.parametrize(("duration", "text"), [(None, "–"), (0.01234, "0.012 s"), (12.345, "12.3 s")])
def test_durations_have_the_digits_that_matter(duration: float | None, text: str) -> None:
    """Milliseconds below a second."""
    assert text == seconds(duration)


def test_a_table_keeps_brackets_and_long_cells_and_drops_empty_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nobody looks at a terminal nothing is broken into lines or taken for markup."""
    long = 'pip install "codomyrmex-cache[memory]" ' + "x" * 300
    print_table(("one", "two", "three"), [("[red]a", "", long), (":cat:", "", "")])
    out = capsys.readouterr().out
    assert long in out
    assert "[red]a" in out
    assert ":cat:" in out
    assert "two" not in out


def test_a_table_without_rows_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is installed: nothing is printed."""
    print_table(("one",), [])
    assert "" == capsys.readouterr().out.strip()
