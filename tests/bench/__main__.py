"""`python -m tests.bench [--json] [--quick] [THEME...]`: measure and print; never fails on a figure."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from types import ModuleType

from tests.bench.figure import QUICK, Effort, Figure, encoded, machine

THEMES = ("verbs", "engine", "changes", "reads", "access", "ec2", "htcondor")
"""Modules beside this one, each with `figures(effort)`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print every figure of the themes as `name value unit limit ok|short`, or all as one JSON document.

    A theme that cannot be measured costs no other its figures; then the exit status is 1.
    """
    parser = argparse.ArgumentParser("python -m tests.bench", description=main.__doc__)
    parser.add_argument("themes", nargs="*", metavar="THEME", help=f"of {', '.join(THEMES)}; all by default")
    parser.add_argument("--json", action="store_true", help="print one JSON document, with the machine, at the end")
    parser.add_argument("--quick", action="store_true", help="few and short rounds, for orientation")
    options = parser.parse_args(argv)
    unknown = set(options.themes) - set(THEMES)
    if unknown:
        parser.error(f"there is no theme {sorted(unknown)[0]}: choose from {', '.join(THEMES)}")
    effort = QUICK if options.quick else Effort()
    out = sys.stderr if options.json else sys.stdout
    found: list[Figure] = []
    failed: dict[str, str] = {}
    for theme in options.themes or THEMES:
        module, began = importlib.import_module(f"tests.bench.{theme}"), time.monotonic()
        out.write(f"# {theme}: {_first_sentence(module)}\n")
        for figure in _measured(module, effort, failed):
            found.append(figure)
            out.write(f"{figure}\n")
            out.flush()
        out.write(f"# {theme}: {failed.get(theme, f'{time.monotonic() - began:.0f} s')}\n")
    if options.json:
        sys.stdout.write(f"{encoded(found, failed)}\n")
    else:
        sys.stdout.write("".join(f"# {name}: {value}\n" for name, value in machine().items()))
    return 1 if failed else 0


def _first_sentence(module: ModuleType) -> str:
    return (module.__doc__ or "").partition("\n")[0]


def _measured(module: ModuleType, effort: Effort, failed: dict[str, str]) -> Iterator[Figure]:
    """A theme's figures; why there are no more of them goes to `failed`."""
    try:
        yield from module.figures(effort)
    except Exception as ex:  # whatever went wrong with one theme, the others are still to be measured
        traceback.print_exc()
        failed[module.__name__.rpartition(".")[2]] = f"NOT MEASURED: {type(ex).__name__}: {ex}"


if __name__ == "__main__":
    sys.exit(main())
