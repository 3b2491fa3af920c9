"""`python -m tests.bench [--json] [--quick] [THEME...]`: measure and print; never fails on a figure."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from tests.bench.figure import QUICK, Effort, encoded, machine

THEMES = ("reads", "changes", "access", "ec2", "htcondor")
"""Modules beside this one, each with `figures(effort)`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print every figure of the themes as `name value unit limit ok|short`, or all as one JSON document."""
    parser = argparse.ArgumentParser("python -m tests.bench", description=main.__doc__)
    parser.add_argument("themes", nargs="*", metavar="THEME", help=f"of {', '.join(THEMES)}; all by default")
    parser.add_argument("--json", action="store_true", help="print one JSON document, with the machine, at the end")
    parser.add_argument("--quick", action="store_true", help="few and short rounds, for orientation")
    options = parser.parse_args(argv)
    unknown = set(options.themes) - set(THEMES)
    if unknown:
        parser.error(f"there is no theme {sorted(unknown)[0]}: choose from {', '.join(THEMES)}")
    effort = QUICK if options.quick else Effort()
    found = []
    for theme in options.themes or THEMES:
        for figure in importlib.import_module(f"tests.bench.{theme}").figures(effort):
            found.append(figure)
            if not options.json:
                sys.stdout.write(f"{figure}\n")
                sys.stdout.flush()
    if options.json:
        sys.stdout.write(f"{encoded(found)}\n")
    else:
        sys.stdout.write("".join(f"# {name}: {value}\n" for name, value in machine().items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
