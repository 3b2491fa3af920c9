"""`make bench`: every figure of docs/performance.md, measured against its limit or its peer in the same run.

A theme is a module with `figures(effort)`, which yields them; `__main__.THEMES` lists the modules.
"""

import sys
from pathlib import Path

# What themes share with the tests finds its neighbours by the path that pytest gives it.
sys.path.append(str(Path(__file__).parent.parent))
