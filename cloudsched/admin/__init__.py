"""The admin daemon: operators' verbs become wishes; nothing here acts on a cloud or a batch system."""

from cloudsched.admin.app import create_app, waiting_room

__all__ = ["create_app", "waiting_room"]
