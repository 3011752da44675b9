"""Several processes on one store: killed, stopped, forked, with wrong clocks, and with the directory gone."""

from __future__ import annotations

import random
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from file_support import Child, cache_at, check_file, directory, in_fork, run

from codomyrmex.cache import CacheConnectionError
from codomyrmex.cache.errors import CacheInvalidationError
from codomyrmex_cache_file import _boot

DEADLINE = 0.4
"""The option ``timeout`` where a test waits for it, in seconds."""
COUNT = """
with cache_at(sys.argv[1]) as cache:
    say("ready")
    wait_for("go")
    for _ in range(500):
        cache.incr("counter")
"""


def test_four_processes_count_exactly(tmp_path: Path) -> None:
    """Nothing is lost when four processes add to one counter 500 times each."""
    children = [Child(COUNT, tmp_path) for _ in range(4)]
    for child in children:
        assert child.line() == "ready"
    for child in children:
        child.tell("go")
    for child in children:
        child.end()
    with cache_at(tmp_path) as cache:
        assert cache.get("counter") == 2000
        check_file(cache._driver)


WRITE = """
# Writes until it is killed; tells before and after each write, so that every acknowledged one is known.
import random
name = sys.argv[2]
source = random.Random(name)
with cache_at(sys.argv[1], max_bytes="1GiB") as cache:
    number = 0
    while True:
        number += 1
        key = f"{name}:{source.randrange(50)}"
        size = source.choice((10, 10, 1000, 1000, 20_000, 100_000))
        say("begin", key, number, size)
        start = time.monotonic()
        if source.random() < 0.2:
            cache.delete(key)
            size = -1
        else:
            cache.set(key, [number, "x" * size], ttl=source.choice((None, 1000)))
        say("end", key, number, size, time.monotonic() - start)
"""


class Histories:
    """What the writers have said: the last write of each key that was acknowledged, and the one that was not."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, tuple[int, int]] = {}
        self.begun: dict[str, tuple[int, int]] = {}
        self.longest = 0.0
        self.writes = 0

    def add(self, lines: list[str]) -> None:
        begun: dict[str, tuple[int, int]] = {}
        for line in lines:
            words = line.split()
            if len(words) == 4:
                begun[words[1]] = (int(words[2]), int(words[3]))
            elif len(words) == 5:
                self.acknowledged[words[1]] = (int(words[2]), int(words[3]))
                begun.pop(words[1], None)
                self.longest = max(self.longest, float(words[4]))
                self.writes += 1
        self.begun |= begun

    def check(self, cache: Any) -> None:
        """Each key holds what was acknowledged last, or what was being written when the writer died."""
        for key, (number, size) in self.acknowledged.items():
            possible = [None if size < 0 else [number, size]]
            if key in self.begun:
                number, size = self.begun[key]
                possible += [[number, size], None]
            value = cache.get(key)
            found = None if value is None else [value[0], len(value[1])]
            assert found in possible, key
            assert cache.explain(key).state in ("fresh", "absent")


class Writer:
    """A process that writes, and a thread that listens to it."""

    def __init__(self, path: Path, name: str) -> None:
        self.child = Child(WRITE, path, name)
        self.writes = threading.Event()
        self.said: list[str] = []
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while line := self.child.line():
            self.said.append(line)
            self.writes.set()

    def kill(self) -> list[str]:
        self.child.kill()
        self._thread.join()
        self.child.process.communicate()
        return self.said


def kill_writers(path: Path, kills: int) -> Histories:
    """Keep four writers going, and kill one after the other, some while they hold the lock."""
    histories = Histories()
    source = random.Random(1)
    with cache_at(path, max_bytes="1GiB") as cache:
        writers = [Writer(path, f"writer{number}") for number in range(4)]
        for number in range(kills):
            victim = writers.pop(0)
            victim.writes.wait(30)
            time.sleep(source.uniform(0.0, 0.03))
            histories.add(victim.kill())
            start = time.monotonic()
            cache.set("survivor", number)
            histories.longest = max(histories.longest, time.monotonic() - start)
            writers.append(Writer(path, f"writer{4 + number}"))
        for writer in writers:
            histories.add(writer.kill())
        assert cache.get("survivor") == kills - 1
        histories.check(cache)
        cache.set("survivor", kills)  # whoever writes next puts the counts right that the last victims have left
        check_file(cache._driver)
    with cache_at(path, max_bytes="1GiB") as cache:
        histories.check(cache)
        check_file(cache._driver)
    assert histories.longest <= 3.0  # three times the default deadline
    return histories


def test_killed_writers(tmp_path: Path) -> None:
    """A writer killed at any moment leaves every acknowledged entry, no partial one, and no lock behind."""
    histories = kill_writers(tmp_path, kills=10)
    assert histories.writes > 20


@pytest.mark.slow
def test_hundred_killed_writers(tmp_path: Path) -> None:
    """The same for a hundred."""
    histories = kill_writers(tmp_path, kills=100)
    print(f"{histories.writes} writes, longest wait {histories.longest * 1000:.0f} ms")


HOLD = """
# Dies, or stands still, in the middle of a transaction.
with cache_at(sys.argv[1]) as cache:
    cache.set("before", 1)
    tables = cache._driver._tables
    put = tables.put
    def slow(*args):
        put(*args)
        say("inside")
        time.sleep(60)
    tables.put = slow
    cache.set("during", 1)
"""


def test_killed_while_it_holds_the_lock(tmp_path: Path) -> None:
    """Of a write that was under way when its process died nothing remains, in the counts neither."""
    with cache_at(tmp_path, max_entries=10) as cache, Child(HOLD, tmp_path) as child:
        cache.set("mine", 1)
        assert child.line() == "inside"
        child.kill()
        child.process.wait()
        cache.set("after", 1)
        assert sorted(cache.keys()) == ["after", "before", "mine"]
        check_file(cache._driver)


def test_stopped_writer(tmp_path: Path) -> None:
    """While a writer stands still, others get errors in time and reads go on; afterwards all is well."""
    with cache_at(tmp_path, timeout=DEADLINE) as cache, Child(HOLD, tmp_path) as child:
        cache.set("mine", 1)
        assert child.line() == "inside"
        child.stopped()
        for error, call in (
            (CacheConnectionError, lambda: cache.set("other", 1)),
            (CacheConnectionError, lambda: cache.incr("other")),
            (CacheInvalidationError, lambda: cache.delete("mine")),
            (CacheInvalidationError, cache.clear),
            (CacheInvalidationError, lambda: cache.invalidate_tags("tag")),
        ):
            start = time.monotonic()
            with pytest.raises(error):
                call()
            assert time.monotonic() - start <= 3 * DEADLINE
            assert cache.get_many(["mine", "before"]) == {"mine": 1, "before": 1}
        child.kill()
        child.process.wait()
        assert cache.delete("mine") is True
        assert cache.get("during") is None
        check_file(cache._driver)


def test_stopped_before_anybody_opens(tmp_path: Path) -> None:
    """A process that comes while a writer stands still gets an error in time, and works later."""
    with Child(HOLD, tmp_path) as child, cache_at(tmp_path, timeout=DEADLINE) as cache:
        assert child.line() == "inside"
        child.stopped()
        start = time.monotonic()
        with pytest.raises(CacheConnectionError):
            cache.get("before")
        assert time.monotonic() - start <= 3 * DEADLINE
        child.kill()
        child.process.wait()
        assert cache.get("before") == 1


def test_fork_with_an_open_store(tmp_path: Path) -> None:
    """Parent and child go on with the same store, whatever the parent had open."""
    with cache_at(tmp_path) as cache:
        cache.set("parent", 1)
        assert cache.get("parent") == 1
        for number in range(3):

            def child(number: int = number) -> bytes:
                cache.set(f"child{number}", number)
                return repr((cache.get("parent"), cache.incr("both"))).encode()

            assert repr((1, 2 * number + 1)).encode() == in_fork(child)
            assert cache.get(f"child{number}") == number
            assert cache.incr("both") == 2 * number + 2
        check_file(cache._driver)


def test_fork_while_threads_read_and_write(tmp_path: Path) -> None:
    """A fork in the middle of other threads' calls harms neither side."""
    with cache_at(tmp_path) as cache:
        stop = threading.Event()
        failures: list[BaseException] = []
        done = [0, 0, 0]

        def busy(number: int) -> None:
            try:
                while not stop.is_set():
                    cache.set(f"{number}:{done[number] % 20}", done[number])
                    assert cache.get(f"{number}:{done[number] % 20}") == done[number]
                    list(cache.keys())
                    done[number] += 1
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=busy, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        try:
            for number in range(15):

                def child(number: int = number) -> bytes:
                    cache.set(f"child{number}", number)
                    return str(cache.get(f"child{number}")).encode()

                assert str(number).encode() == in_fork(child)
                assert cache.get(f"child{number}") == number
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert failures == []
        assert min(done) > 0
        check_file(cache._driver)


def test_fork_in_the_middle_of_a_write(tmp_path: Path) -> None:
    """A fork waits for the write of another thread; the child has its result."""
    with cache_at(tmp_path) as cache:
        cache.set("a", 1)
        tables = cache._driver._tables  # type: ignore[attr-defined]
        put, inside = tables.put, threading.Event()

        def slow(*args: Any) -> None:
            inside.set()
            time.sleep(0.1)
            put(*args)

        tables.put = slow
        writer = threading.Thread(target=cache.set, args=("slow", 2))
        writer.start()
        inside.wait()
        tables.put = put
        assert in_fork(lambda: str(cache.get("slow")).encode()) == b"2"
        writer.join()
        assert cache.get("slow") == 2


CLOCK = """
real = time.time
time.time = lambda: real() + float(sys.argv[2])
with cache_at(sys.argv[1]) as cache:
    if len(sys.argv) > 3:
        cache.set("theirs", 1, ttl=100)
    say(cache.ttl("mine"), cache.get("mine"))
"""


@pytest.mark.parametrize("wrong", [-86400, 86400])
def test_wrong_wall_clocks(tmp_path: Path, wrong: int) -> None:
    """Processes whose wall clocks differ by a day agree on when an entry ends."""
    with cache_at(tmp_path) as cache:
        cache.set("mine", 1, ttl=50)
        ttl, value = run(CLOCK, tmp_path, wrong, "write")[0].split()
        assert value == "1"
        assert 0 < float(ttl) <= 50
        assert 0 < (cache.ttl("theirs") or 0) <= 100


def test_wall_clock_put_back_over_a_reboot(tmp_path: Path) -> None:
    """An entry doesn't live longer because the wall clock stood in the past after a reboot."""
    with cache_at(tmp_path) as cache:
        cache.set("mine", 1, ttl=50)
    code = "from codomyrmex_cache_file import _boot\n_boot.boot_id = lambda: b'another boot'\n" + CLOCK
    ttl, value = run(code, tmp_path, -86400)[0].split()
    assert value == "1"
    assert 0 < float(ttl) <= 50


def remove_tree(path: Path) -> None:
    shutil.rmtree(path)


def rename(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def replace(path: Path) -> None:
    with cache_at(path.with_name("other")) as cache:
        cache.set("new", 1)
    rename(path)
    directory(path.with_name("other")).rename(path)


@pytest.mark.parametrize("change", [remove_tree, rename, replace])
def test_directory_goes_while_it_is_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """That the directory is another a removal notices at once, a write and a read within a second."""
    with cache_at(tmp_path) as cache, cache_at(tmp_path) as _:
        cache.set("old", 1)
        change(directory(tmp_path))
        later = _boot.since_boot() + 1.1
        monkeypatch.setattr(_boot, "since_boot", lambda: later)
        cache.set("a", 1)
        assert (cache.get("old"), cache.get("a")) == (None, 1)
        assert run(READ, tmp_path)[0] == "1"
        change_again = remove_tree if change is replace else change
        if (tmp_path / "elsewhere").exists():
            shutil.rmtree(tmp_path / "elsewhere")
        change_again(directory(tmp_path))
        cache._driver.purge(100)  # what the timer does every second
        assert cache.get("a") is None
        cache.set("a", 1)
        remove_tree(directory(tmp_path))
        assert cache.delete("a") is False
        cache.set("b", 1)
        assert cache.get("b") == 1
        check_file(cache._driver)


READ = """
with cache_at(sys.argv[1]) as cache:
    say(cache.get("a"))
"""


def test_reads_notice_by_themselves(tmp_path: Path) -> None:
    """A process that only reads notices within about a second that the directory is gone."""
    with cache_at(tmp_path) as cache:
        cache.set("old", 1)
        shutil.rmtree(directory(tmp_path))
        deadline = time.monotonic() + 3
        while cache.get("old") is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert cache.get("old") is None


@pytest.mark.parametrize("name", ["control", "data.mdb", "lock.mdb", "marks", "users", "leases"])
def test_one_file_goes_while_it_is_in_use(tmp_path: Path, name: str) -> None:
    """If a single file is removed, all processes end up on one store again, and nothing wrong is served."""
    with cache_at(tmp_path) as cache:
        cache.set_many({f"old{number}": number for number in range(100)})
        (directory(tmp_path) / name).unlink()
        assert run(READ.replace('"a"', '"old7"'), tmp_path)[0] in ("7", "None")
        for number in range(2):
            assert cache.incr("both") == 2 * number + 1
            assert run(READ.replace('get("a")', 'incr("both")'), tmp_path)[0] == str(2 * number + 2)
        assert cache.get("old7") in (7, None)
        check_file(cache._driver)


def test_replaced_under_busy_threads(tmp_path: Path) -> None:
    """Threads in the middle of reads and writes get values, misses or the cache's own errors, and go on."""
    with cache_at(tmp_path) as cache:
        stop = threading.Event()
        failures: list[BaseException] = []

        def busy(number: int) -> None:
            count = 0
            while not stop.is_set():
                count += 1
                try:
                    cache.set(f"{number}:{count % 50}", [number, count] * 20)
                    value = cache.get(f"{number}:{count % 50}")
                    assert value in (None, [number, count] * 20)
                    cache.get_many([f"{number}:{other}" for other in range(50)])
                    cache.delete(f"{number}:{(count + 7) % 50}")
                except (CacheConnectionError, CacheInvalidationError):
                    pass
                except BaseException as error:
                    failures.append(error)
                    return

        threads = [threading.Thread(target=busy, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            time.sleep(0.02)
            shutil.rmtree(directory(tmp_path), ignore_errors=True)
            cache._driver.purge(10)
        stop.set()
        for thread in threads:
            thread.join()
        assert failures == []
        cache.set("a", 1)
        assert cache.get("a") == 1
        check_file(cache._driver)


# In a finalizer that happens to run, an exception comes to nothing but this warning.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_signal_in_the_middle_of_a_write(tmp_path: Path) -> None:
    """A write that a signal handler breaks off leaves no lock behind, and the next calls are right."""

    class Interrupted(Exception):
        pass

    armed = False

    def interrupt(*_: object) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with cache_at(tmp_path) as cache:
            cache.set("counter", 0)
            broken = 0
            for number in range(300):
                try:
                    armed = True
                    signal.setitimer(signal.ITIMER_REAL, 0.00002 + number * 0.000002)
                    for _ in range(20):
                        cache.set("key", number)
                        cache.get("key")
                except Interrupted:
                    broken += 1
                armed = False
                cache.set("counter", number)
                assert cache.get("counter") == number
            assert broken > 0
            check_file(cache._driver)
    finally:
        signal.signal(signal.SIGALRM, before)
