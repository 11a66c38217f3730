"""Client: one request to a page, for `zaudio status`. The server does not import it: a farm has no use for it."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from zaudio.errors import UsageError, ZaudioError
from zaudio.web.board import VERSION

PATIENCE = 10.0  # seconds for an answer; snapshots take milliseconds
ANSWER_MAX = 8 << 20  # bytes


def fetch(url: str, path: str = "/snapshot") -> Any:  # noqa: ANN401  JSON
    """Return the snapshot of a job from the address of its page, token and all.

    Raises:
        UsageError: It is not the address of a page, or the token is wrong.
        ZaudioError: Nothing answers there, or something else.
    """
    try:
        parts = urlsplit(url)
        known = parts.scheme == "http" and parts.hostname and parts.fragment and parts.port is not None
    except ValueError:  # of a bracket without its other one, or a port that is no number
        known = False
    if not known:
        raise UsageError(f"{url}: expected an address as --web prints it, http://HOST:PORT/#TOKEN")
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {parts.fragment}"})
        response = connection.getresponse()
        body = response.read(ANSWER_MAX)
        content = json.loads(body) if response.status == 200 else {}
    except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
        raise ZaudioError(f"{parts.hostname}:{parts.port}: no page of zaudio answers: {error}") from error
    finally:
        connection.close()
    if response.status != 200:
        sentence = body.decode("utf-8", "replace").strip()
        raise UsageError(f"{parts.hostname}:{parts.port} answers {response.status}: {sentence}")
    if not isinstance(content, dict) or content.get("v") != VERSION:
        raise ZaudioError(f"{parts.hostname}:{parts.port}: the answer is not that of a page of this zaudio")
    return content
