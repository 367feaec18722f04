"""The two pages that the API shows by itself: where to go, and the OpenAPI document for people.

Plain HTML made here: no script, nothing from outside, and a policy that says so to the browser.
"""

import base64
import hashlib
import re
from collections.abc import Iterable
from importlib.resources import files
from typing import Any, Final

from homing import __version__
from homing.api.problems import TITLES

_STYLE: Final = (files("homing.api") / "templates" / "style.css").read_text()
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

SAFETY: Final = (
    (
        b"content-security-policy",
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'".encode(),
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
"""Headers for these pages: even a hole in them could run nothing and load nothing."""

_CODES: Final = tuple((error.code, error.http_status, title) for error, title in TITLES.items())


def home() -> bytes:
    """Return the page at ``/``."""
    return _render("home.html")


def docs(openapi: dict[str, Any]) -> bytes:
    """Return the page at ``/docs``, drawn from the document and nothing else."""
    sections: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in openapi["tags"]}
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            sections[operation["tags"][0]].append(
                {
                    **operation,
                    "path": path,
                    "method": method.upper(),
                    "body": _reference(operation.get("requestBody", {}).get("content", {})),
                    "answers": [
                        (status, _reference(response.get("content", {})), response["description"])
                        for status, response in operation["responses"].items()
                    ],
                    "query": [(it["name"], it["in"], _type(it["schema"])) for it in operation["parameters"]],
                }
            )
    schemas = {
        name: {
            "description": schema.get("description", ""),
            "values": [str(value) for value in schema.get("enum", ())],
            "later": schema.get("x-homing-not-yet", ()),
            "rows": [
                (key, key in schema.get("required", ()), _type(value), _told(value))
                for key, value in schema.get("properties", {}).items()
            ],
        }
        for name, schema in openapi["components"]["schemas"].items()
    }
    return _render("docs.html", openapi=openapi, sections=sections, schemas=schemas, codes=_CODES)


def _render(template: str, **values: object) -> bytes:
    from jinja2 import Environment, PackageLoader, select_autoescape  # slow to import, and seldom needed
    from markupsafe import Markup, escape

    def prose(text: str) -> Markup:
        """Escape a text, and set what stands between backticks as code."""
        return Markup(re.sub(r"(``?)([^`]+)\1", r"<code>\2</code>", str(escape(text))))  # noqa: S704 - escaped just before

    environment = Environment(
        loader=PackageLoader("homing.api"),
        autoescape=select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = prose
    page = environment.get_template(template).render(style=_STYLE, version=__version__, **values)
    return page.encode()


def _reference(content: dict[str, Any]) -> str:
    """The name of the schema that a body has, empty where it has none of its own."""
    for kind in content.values():
        return _name(kind["schema"].get("$ref", ""))
    return ""


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]


def _type(schema: dict[str, Any]) -> str:
    """A schema in few words."""
    if "$ref" in schema:
        return _name(schema["$ref"])
    if "anyOf" in schema:
        return " or ".join(_type(branch) for branch in schema["anyOf"])
    if "enum" in schema:
        return " · ".join(str(value) for value in schema["enum"])
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}{_bounds(schema, 'minItems', 'maxItems')}"
    if "format" in schema:
        kind = str(schema["format"])
    return kind + _bounds(schema, "minLength", "maxLength") + _bounds(schema, "minimum", "maximum")


def _bounds(schema: dict[str, Any], low: str, high: str) -> str:
    if low not in schema and high not in schema:
        return ""
    return f" ({schema.get(low, 0)}–{schema.get(high, '')})"


def _told(schema: dict[str, Any]) -> str:
    """What the declaration says about a property, wherever in the schema it says it."""
    inner: Iterable[dict[str, Any]] = (schema, *schema.get("anyOf", ()))
    return next((str(it["description"]) for it in inner if "description" in it), "")
