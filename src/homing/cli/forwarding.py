"""An event of the feed as the callback that the server would make of it, and the way to a server on this machine.

Bytes and headers are made by the same code as in production; only secret and ``webhook-id`` are a listener's own.
"""

import http.client
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from homing.callbacks.job import Job
from homing.cli.client import PAGE, Client, Doc, path
from homing.cli.exits import CliError
from homing.cli.posting import Forward, connected, exchange
from homing.cli.pulling import Pause, lost, until_back
from homing.cli.render import say
from homing.contract.forms import Form
from homing.contract.notification import (
    IncomingNotification,
    Notification,
    Precision,
    StatusNotification,
    parse_utc,
)
from homing.contract.status import Status

Event = Mapping[str, Any]
"""An item of the feed, as the API tells it."""

AS_CONFIGURED: Final = "as-configured"
FORMS: Final = (*(form.value for form in Form), AS_CONFIGURED)
"""What ``--form`` takes."""
RETRY_DELAYS_S: Final = (0.5, 1.0, 2.0)
"""Between tries that were answered with a failure; after the last an event is passed over, or a bug would stop the feed."""
DOWN_DELAYS_S: Final = (0.25, 5.0)
"""The first and the longest pause while nobody listens at the address: that spends no try."""
CONNECT_S: Final = 5.0
"""As in production, for name, connection and TLS."""
_LINE_CHARS: Final = 100


class How(msgspec.Struct, frozen=True):
    """How an application wants its callbacks."""

    form: Form
    precision: Precision = "s"


class Answered(msgspec.Struct, frozen=True):
    """What came of a try. ``is_down``: nobody listens there, so nothing was sent."""

    status: int | None
    took_ms: int
    text: str = ""
    """The first line of the answer, or why there was none."""
    is_down: bool = False

    @property
    def is_taken(self) -> bool:
        """Say whether the callback is settled."""
        return self.status is not None and 200 <= self.status < 300


def webhook_id(event: Event, name: str) -> str:
    """Return the id of an event at a listener: the same at every try and every start, unique, without a full stop."""
    message = str(event["messageId"]).replace("-", "")
    return f"msg_{message}{event['cursor']}_{event.get('seq', 1)}_{name}"


def notification(event: Event) -> Notification:
    """Return an event of the feed as what a callback tells."""
    at_ms, _ = parse_utc(event["timestamp"])
    app = str(event["mobileAppId"])
    if event["kind"] == "incoming":
        return IncomingNotification(
            event["sender"],
            event["text"],
            app,
            at_ms,
            event["messageId"],
            event.get("channel"),
            event.get("inReplyTo"),
        )
    return StatusNotification(
        at_ms,
        app,
        event["messageId"],
        event["recipient"],
        Status(event["status"]),
        event.get("messageRef"),
        event.get("recipientRef"),
        event.get("fallbackRef"),
    )


class Forms:
    """How each application wants its callbacks: what ``--form`` says, or as its first endpoint is set up."""

    def __init__(self, api: Client, form: str, pause: Pause) -> None:
        self._api = api
        self._form = form
        self._pause = pause
        self._known: dict[int, How] = {}

    def __call__(self, app: int) -> How:
        """Return how, asked for once."""
        if self._form != AS_CONFIGURED:
            return How(Form(self._form))
        if app not in self._known:
            self._known[app] = self._configured(app)
        return self._known[app]

    def _configured(self, app: int) -> How:
        api, where = self._api, path("1", "apps", app, "endpoints")

        def ask() -> Doc:
            return api.items(where, limit=PAGE)

        try:
            page = ask()
        except CliError as error:
            lost(api, error)
            page = until_back(api, ask, self._pause)
        for endpoint in page["items"]:
            if endpoint["kind"] == "status":
                return How(Form(endpoint["form"]), endpoint["timestampPrecision"])
        say(f"application {app} has no endpoint to take the form from: json")
        return How(Form.JSON)


class Maker:
    """Makes callbacks of events: signed with a listener's secret, in the form that ``how`` says for each application."""

    def __init__(self, url: str, secret: str, name: str, how: Callable[[int], How]) -> None:
        """Raises `CliError` for a URL that no endpoint could have."""
        self._url = url
        self._secret = secret
        self._name = name
        self._how = how
        self._forwards: dict[How, Forward] = {}

    def make(self, event: Event, attempt: int) -> Job:
        """Return one try, signed now."""
        how = self._how(event["mobileAppId"])
        forward = self._forwards.get(how)
        if forward is None:
            forward = self._forwards[how] = Forward(self._url, how.form, [self._secret], how.precision)
        return forward.job(notification(event), webhook_id(event, self._name), event.get("seq", 1), attempt)


def send(job: Job) -> Answered:
    """Make one try on a connection of its own; redirects are not followed, and no proxy is asked."""
    began_s = time.monotonic()
    is_down = True
    try:
        connection = connected(job.endpoint.url, CONNECT_S)
        is_down = False
        done = exchange(connection, job)
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        took_ms = round((time.monotonic() - began_s) * 1000)
        return Answered(None, took_ms, why.lower()[:_LINE_CHARS], is_down=is_down)
    text = done.answer.decode("utf-8", "replace").strip()
    return Answered(done.status, done.phases.total_ms, text.split("\n", 1)[0][:_LINE_CHARS])


class Forwarder:
    """Brings events to a local server, one after the other: while it is down nothing is spent and nothing passed over."""

    def __init__(
        self,
        maker: Maker,
        pause: Pause,
        tried: Callable[[Event, Job, Answered, int, float | None], None],
        send: Callable[[Job], Answered] = send,
    ) -> None:
        """``tried`` hears of each try: its number from 1, and after how many seconds the next is, if there is one."""
        self._maker = maker
        self._pause = pause
        self._tried = tried
        self._send = send

    def deliver(self, event: Event) -> bool:
        """Try until it is taken, or has been answered with a failure too often; say whether it was taken."""
        for number, next_s in enumerate((*RETRY_DELAYS_S, None), 1):
            job, answered = self._reach(event, number)
            is_last = answered.is_taken or next_s is None
            self._tried(event, job, answered, number, None if is_last else next_s)
            if answered.is_taken or next_s is None:
                return answered.is_taken
            self._pause(next_s)
        raise AssertionError("the last try has no next")

    def _reach(self, event: Event, number: int) -> tuple[Job, Answered]:
        """Make one try, once there is somebody to make it to."""
        delay_s, longest_s = DOWN_DELAYS_S
        is_told = False
        while True:
            job = self._maker.make(event, number)
            answered, origin = self._send(job), job.endpoint.url.origin
            if not answered.is_down:
                if is_told:
                    say(f"{origin} is back")
                return job, answered
            if not is_told:
                is_told = True
                say(f"{origin} is down ({answered.text}): holding events until it is back")
            self._pause(delay_s)
            delay_s = min(2 * delay_s, longest_s)
