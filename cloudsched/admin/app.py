"""The admin daemon's application: which resource answers which URL."""

from __future__ import annotations

from cloudsched.admin import clouds, jobs, limits, operations, previews, rereading, root, tokens, users, vms
from cloudsched.admin.answers import Answers
from cloudsched.admin.asking import Rules
from cloudsched.admin.waiting import Waiting
from cloudsched.config import Config
from cloudsched.errors import Unconfirmed
from cloudsched.store import Store
from cloudsched.store.wishes import Previewed
from cloudsched.web.ages import Ages
from cloudsched.web.app import WSGIApp, build, gate, shared_routes
from cloudsched.web.ready import Reads
from cloudsched.web.traffic import Traffic


def waiting_room(store: Store, config: Config) -> Waiting:
    """The place where verbs wait; whoever serves the application closes it when the service ends."""
    return Waiting(store, config.global_.wait_seats, config.global_.verb_wait_seconds)


def create_app(store: Store, config: Config, waiting: Waiting | None = None) -> WSGIApp:
    """The application for any WSGI server; creates the token file at first. Raises ConfigError for an unusable one."""
    settings, traffic = config.global_, Traffic()
    rules = Rules(settings.guard_vms, config.logging.admin_log_comments)
    answers = Answers(store, waiting or waiting_room(store, config), settings.history_days, rules)
    foresights = rereading.foresights(config)
    routes = {
        "/": root.Root(answers, foresights),
        "/settings": root.Settings(answers),
        "/clouds/{cloud}": clouds.Cloud(answers, settings),
        "/clouds/{cloud}/vms": vms.VMs(answers),
        "/clouds/{cloud}/vms/{vm}": vms.VM(answers),
        "/users/{user}": users.User(answers),
        "/cloud-aliases": limits.cloud_aliases(answers, foresights),
        "/user-limits": limits.user_limits(answers, foresights),
        "/jobs": jobs.Jobs(
            answers,
            jobs.checker(settings.batch_system, config.job),
            known_clients=settings.admin_auth != "none",
        ),
        "/jobs/{job}": jobs.Job(answers),
        "/operations/{operation}/undo": operations.Undo(answers),
        "/tokens": tokens.Tokens(answers),
        "/tokens/{token}": tokens.OneToken(answers),
        **shared_routes("admin", store, settings, traffic),
    }
    entrance = gate("admin", store, settings)
    app = build(routes, entrance, settings.access_log, traffic, Reads(Ages(store)))
    app.add_error_handler(Previewed, previews.told)
    app.add_error_handler(Unconfirmed, previews.demanded)
    return app
