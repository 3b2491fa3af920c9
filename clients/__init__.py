"""The command-line clients: `cloud_admin`, `cloud_status` and `cloud_job`."""
