"""Checks of a message to the MCP server, before the library for it reads the message.

That library parses without a bound on nesting or digits, lists every error of a message that is none, and
repeats whatever names something.
"""

from __future__ import annotations

from typing import Any

from . import bodies
from .refusals import Refused

MOST_NAME = 255  # characters of what names something
MOST_URI = 2048  # of a resource's, which may hold a query


def check(body: bytes) -> None:
    """Raises Refused, of what is wrong with a message the first."""
    message = bodies.parse(body, of_gradio=False)
    if isinstance(message, list):
        raise Refused(400, "Messages are taken one at a time, not in a list.")
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise Refused(400, 'The message is to be a JSON object with "jsonrpc": "2.0".')
    if not isinstance(message.get("method"), str):
        raise Refused(400, "The message is to name a method.")
    if "id" in message and type(message["id"]) not in (str, int):
        raise Refused(400, "The id of a message is to be text or a whole number.")
    params = message.get("params")
    if not isinstance(params, dict | None):
        raise Refused(400, "The params of a message are to be an object.")
    for named in (message, params or {}):
        _check_names(named)


def _check_names(named: dict[str, Any]) -> None:
    for key, most in {"id": MOST_NAME, "method": MOST_NAME, "name": MOST_NAME, "uri": MOST_URI}.items():
        value = named.get(key)
        if isinstance(value, str) and len(value) > most:
            raise Refused(400, f"The {key} of a message is too long: {most} characters are taken.")
