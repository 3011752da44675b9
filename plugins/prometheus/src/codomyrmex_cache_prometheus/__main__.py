"""``python -m codomyrmex_cache_prometheus dashboard`` or ``rules``: print the file, for Grafana or Prometheus."""

from __future__ import annotations

import sys
from importlib import resources

FILES = {"dashboard": "dashboard.json", "rules": "rules.yml"}


def main(arguments: list[str]) -> int:
    """Print what is asked for; 2 if that isn't clear."""
    if len(arguments) != 1 or arguments[0] not in FILES:
        print(f"usage: python -m codomyrmex_cache_prometheus {' | '.join(FILES)}", file=sys.stderr)
        return 2
    sys.stdout.write(resources.files("codomyrmex_cache_prometheus").joinpath(FILES[arguments[0]]).read_text("utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
