"""Cloud Scheduler's control plane: boots VMs for queued jobs, retires them when nobody needs them."""

__version__ = "2.0.0"
