"""The daemon's own contract: the OpenAPI document in both forms, and a page to browse it that needs no other site."""

from __future__ import annotations

from importlib.resources import files

from cloudsched import openapi
from cloudsched.errors import MissingExtra
from cloudsched.web import Request, Response, params
from cloudsched.web.negotiate import HTML, JSON

YAML = "application/yaml"
_CSS, _JAVASCRIPT = "text/css; charset=utf-8", "text/javascript; charset=utf-8"

VIEWER = "mkdocs_swagger_ui_tag"
"""The package of the extra `docs`: it ships Swagger UI as it is released."""

ASSETS = {
    "/docs/swagger-ui.css": (VIEWER, "swagger-ui/stylesheets/swagger-ui.css", _CSS),
    "/docs/swagger-ui-bundle.js": (VIEWER, "swagger-ui/javascripts/swagger-ui-bundle.js", _JAVASCRIPT),
    "/docs/start.js": ("cloudsched.openapi", "start.js", _JAVASCRIPT),
}
"""What the page is made of: package, file and type."""

OPEN = frozenset(("/openapi.json", "/openapi.yaml", "/docs", *ASSETS))
"""What may be read without a token: it is the same for everybody and tells nothing of this installation."""

# Swagger UI styles its elements one by one. Without an icon a browser asks for /favicon.ico, in vain.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Cloud Scheduler: {daemon} daemon</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><link rel="stylesheet" href="docs/swagger-ui.css"></head>
<body><div id="swagger-ui">
<noscript>This page needs a script; <a href="openapi.yaml">the document</a> does not.</noscript>
</div><script src="docs/swagger-ui-bundle.js"></script><script src="docs/start.js"></script></body></html>
"""


def routes(daemon: str) -> dict[str, object]:
    """The resources by URL, of `admin` or `info`."""
    documents: dict[str, object] = {
        "/openapi.json": Fixed(openapi.as_json(daemon), JSON),
        "/openapi.yaml": Fixed(openapi.as_yaml(daemon).encode(), YAML),
        "/docs": Page(daemon),
    }
    return documents | {url: Asset(*asset) for url, asset in ASSETS.items()}


class Fixed:
    """A document that stays as it is while the daemon runs."""

    def __init__(self, document: bytes, content_type: str) -> None:
        self._document, self._content_type = document, content_type

    def on_get(self, req: Request, resp: Response) -> None:
        """GET the document."""
        params.read(req)
        _answer(resp, self._document, self._content_type)


class Asset:
    """A file of an installed package."""

    def __init__(self, package: str, path: str, content_type: str) -> None:
        self._package, self._path, self._content_type = package, path, content_type

    def on_get(self, req: Request, resp: Response) -> None:
        """GET the file: 200, or 501 without the extra."""
        params.read(req)
        _answer(resp, _file(self._package, self._path), self._content_type)


class Page:
    """The page for browsers."""

    def __init__(self, daemon: str) -> None:
        self._page = _PAGE.format(daemon=daemon).encode()

    def on_get(self, req: Request, resp: Response) -> None:
        """GET the page: 200, or 501 without the extra, as it would stay empty."""
        params.read(req)
        for package, path, _ in ASSETS.values():
            _file(package, path)
        resp.set_header("Content-Security-Policy", _POLICY)
        _answer(resp, self._page, HTML)


def _answer(resp: Response, body: bytes, content_type: str) -> None:
    resp.set_header("Cache-Control", "no-cache")
    resp.content_type, resp.data = content_type, body


def _file(package: str, path: str) -> bytes:
    try:
        return files(package).joinpath(path).read_bytes()
    except (ModuleNotFoundError, FileNotFoundError):
        raise MissingExtra("The page for browsers", "docs") from None
