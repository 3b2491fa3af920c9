"""Fair shares by user:vmtype as text (PARITY 2.9)."""

from __future__ import annotations

from collections.abc import Mapping

from cloudsched.render.cells import cell

Shares = Mapping[str, float]


def shares(diff: Shares, current: Shares, desired: Shares) -> str:
    """The three distributions, each sorted by user:vmtype, `GET /diff-types` (PARITY 2.9)."""
    blocks = {"Diff Types dictionary": diff, "Current Types (vms)": current, "Desired Types (jobs)": desired}
    return "".join(f"{title}\n{_block(share)}" for title, share in blocks.items())


def _block(share: Shares) -> str:
    return "".join(f"type: {cell(name)}, dist: {share[name]:.6f}\n" for name in sorted(share))
