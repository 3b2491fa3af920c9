"""Everything that speaks HTTP: the only home of falcon and waitress.

Resources of both daemons import what they need of a request from here, so neither framework shows anywhere else.
"""

from falcon import Request, Response

__all__ = ["Request", "Response"]
