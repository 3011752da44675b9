"""A real Prometheus scrapes a real process: every query of the dashboard has data, and promtool is content."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

FILES = resources.files("codomyrmex_cache_prometheus")
PATIENCE = 60.0
CONFIG = """
global:
  scrape_interval: 500ms
  evaluation_interval: 1s
rule_files: [rules.yml]
scrape_configs:
  - job_name: caches
    static_configs: [{{ targets: ["127.0.0.1:{port}"] }}]
"""

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None and os.environ.get("CODOMYRMEX_TEST_SERVERS") != "all",
    reason="no prometheus on this machine",
)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fetched(url: str) -> str:
    """What is there, as soon as somebody answers."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a process's metrics."""
    port = free_port()
    program = Path(__file__).with_name("scraped.py")
    process = subprocess.Popen([sys.executable, program, str(port), str(tmp_path_factory.mktemp("files"))])
    yield f"127.0.0.1:{port}"
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def prometheus(metrics: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus that scrapes it."""
    directory, port = tmp_path_factory.mktemp("prometheus"), free_port()
    (directory / "rules.yml").write_text(FILES.joinpath("rules.yml").read_text("utf-8"))
    (directory / "prometheus.yml").write_text(CONFIG.format(port=metrics.rpartition(":")[2]))
    command = ["prometheus", f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data"]
    with (directory / "log").open("w") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stderr=log)
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


def answered(prometheus: str, query: str) -> list[Any]:
    """The series that a query gives, as soon as there are some."""
    url = f"{prometheus}/api/v1/query?" + urllib.parse.urlencode({"query": query})
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = json.loads(fetched(url))
        assert answer["status"] == "success"
        series: list[Any] = [one for one in answer["data"]["result"] if one["value"][1] not in ("NaN", "+Inf")]
        if series or time.monotonic() > deadline:
            return series
        time.sleep(0.3)


def queries() -> list[tuple[str, str]]:
    """Those of the dashboard's panels, by title."""
    dashboard = json.loads(FILES.joinpath("dashboard.json").read_text("utf-8"))
    return [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel["targets"]]


@needs_prometheus
@pytest.mark.parametrize(("title", "query"), queries())
def test_the_dashboard(prometheus: str, title: str, query: str) -> None:
    """Each query gives series, of a cache and a backend that are there."""
    for variable, value in {"$cache": ".*", "$backend": ".*", "$__rate_interval": "5s"}.items():
        query = query.replace(variable, value)
    assert "$" not in query
    series = answered(prometheus, query)
    assert series, f"{title}: no data for {query}"
    assert {one["metric"]["cache"] for one in series} <= {"small", "files"}


@needs_prometheus
@pytest.mark.parametrize("name", ["cache_backend:codomyrmex_cache_reads:rate5m", 'ALERTS{alertname="CacheLoadsFail"}'])
def test_rules(prometheus: str, name: str) -> None:
    """They are evaluated: what is recorded is there, and a tenth of failing loads is noticed."""
    assert answered(prometheus, name)


@needs_prometheus
def test_promtool(metrics: str) -> None:
    """It finds nothing to say about the rules and the metrics."""
    with resources.as_file(FILES.joinpath("rules.yml")) as rules:
        done = subprocess.run(["promtool", "check", "rules", rules], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    text = "".join(line for line in fetched(f"http://{metrics}/metrics").splitlines(True) if "codomyrmex" in line)
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_prometheus
def test_alerts(tmp_path: Path) -> None:
    """Each alert fires for the cache that gives reason to, and for no other."""
    (tmp_path / "rules.yml").write_text(FILES.joinpath("rules.yml").read_text("utf-8"))
    shutil.copy(Path(__file__).with_name("rules_test.yml"), tmp_path)
    command = ["promtool", "test", "rules", "rules_test.yml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_labels(metrics: str) -> None:
    """They are few, and no key is among them."""
    text = fetched(f"http://{metrics}/metrics")
    deadline = time.monotonic() + PATIENCE
    while "codomyrmex_cache_reads_total{" not in text and time.monotonic() < deadline:
        time.sleep(0.1)
        text = fetched(f"http://{metrics}/metrics")
    ours = [line for line in text.splitlines() if line.startswith("codomyrmex_cache_")]
    names = {name for line in ours for name in re.findall(r'(\w+)="', line)}
    assert names == {"cache", "backend", "result", "cause", "operation", "le"}
    assert "secret" not in text
    assert len(ours) < 1000
