"""The information daemon: read-only status of the state, v1's rows I1 to I21 (PARITY 1.3)."""

from cloudsched.info.app import create_app

__all__ = ["create_app"]
