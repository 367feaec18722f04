"""Every error Homing raises on purpose, in one tree; each says whose fault it is and what the caller should do.

::

    HomingError
    ├── RequestError            the caller's fault, answered as problem+json
    │   ├── InvalidRequest          400  malformed JSON, wrong type, missing property
    │   ├── NotAcceptable           422  well-formed, but not allowed (code ``invalid_request``)
    │   │   └── UrlNotAllowed       422  a callback URL the guard refuses
    │   ├── Unauthorized            401  no token, or a wrong one
    │   ├── Forbidden               403  the token lacks the scope
    │   ├── NotFound                404  no such thing, or another application's
    │   ├── MethodNotAllowed        405
    │   ├── Conflict                409
    │   │   └── IdempotencyConflict 409  the key was used for another request
    │   ├── PayloadTooLarge         413
    │   ├── UnsupportedMediaType    415
    │   └── RateLimited             429  wait ``retry_after_s``
    ├── Unavailable             503  ours; nothing was stored; wait ``retry_after_s`` and send again
    │   └── CommitUnknown       503  the commit's outcome is unknown; the idempotency key resolves it
    └── StartError              the operator's: the process ends with ``exit_code`` and one line
        ├── ConfigError             2  unknown key, wrong value
        ├── AddressInUse            2
        ├── WrongMasterKey          2  the store is sealed under another key
        ├── SchemaTooNew            6  the store was written by a newer Homing
        ├── StoreLocked             6  another process has the data directory
        ├── StoreMoved              6  the store was moved elsewhere, or its copy is not finished yet
        ├── NoSuchStore             3  there is no store, or no backup, at that place
        ├── PlaceTaken              6  a backup or a restored store would overwrite something
        └── BackupDamaged           1  a backup is not what its manifest says

Errors are mapped by class at the border (``api/problems``, ``cli``), never by their text.
"""


class HomingError(Exception):
    """The root; ``code`` is stable and part of the API, the text is for people."""

    code = "internal"
    http_status = 500

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or (type(self).__doc__ or "").split("\n", 1)[0])
        self.detail = str(self)


class RequestError(HomingError):
    """The request was refused; nothing was stored."""

    code = "invalid_request"
    http_status = 400

    def __init__(self, detail: str = "", *, errors: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(detail)
        self.errors = errors
        """Pairs of (JSON path, message), for requests with several faults."""


class InvalidRequest(RequestError):
    """The request could not be understood."""


class NotAcceptable(RequestError):
    """The request is well-formed, but a value in it is not allowed."""

    http_status = 422


class UrlNotAllowed(NotAcceptable):
    """The guard refuses this callback URL."""

    code = "url_refused"


class Unauthorized(RequestError):
    """A valid token is needed."""

    code = "unauthorized"
    http_status = 401


class Forbidden(RequestError):
    """The token does not allow this."""

    code = "forbidden"
    http_status = 403


class NotFound(RequestError):
    """There is no such thing here."""

    code = "not_found"
    http_status = 404


class MethodNotAllowed(RequestError):
    """This path does not take this method."""

    code = "method_not_allowed"
    http_status = 405

    def __init__(self, detail: str = "", *, allow: str = "") -> None:
        super().__init__(detail)
        self.allow = allow


class Conflict(RequestError):
    """The request does not fit the present state."""

    code = "conflict"
    http_status = 409


class IdempotencyConflict(Conflict):
    """This Idempotency-Key was used for another request."""

    code = "idempotency_conflict"


class PayloadTooLarge(RequestError):
    """The body is larger than allowed."""

    code = "payload_too_large"
    http_status = 413


class UnsupportedMediaType(RequestError):
    """The body's media type is not one this path takes."""

    code = "unsupported_media_type"
    http_status = 415


class RateLimited(RequestError):
    """Too many requests; wait and try again."""

    code = "rate_limited"
    http_status = 429

    def __init__(self, detail: str = "", *, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Unavailable(HomingError):
    """Homing cannot take this now; nothing was stored, send it again later."""

    code = "unavailable"
    http_status = 503

    def __init__(self, detail: str = "", *, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class CommitUnknown(Unavailable):
    """Whether this was stored is not known; the same Idempotency-Key will tell."""


class StartError(HomingError):
    """The process cannot start; the operator must change something."""

    exit_code = 2


class ConfigError(StartError):
    """The configuration is wrong."""

    code = "config"


class AddressInUse(StartError):
    """The listen address is taken by another process."""

    code = "address_in_use"


class WrongMasterKey(StartError):
    """The store's secrets are sealed under another master key."""

    code = "wrong_master_key"


class SchemaTooNew(StartError):
    """The store was written by a newer Homing."""

    code = "schema_too_new"
    exit_code = 6


class StoreLocked(StartError):
    """Another process is using this data directory."""

    code = "store_locked"
    exit_code = 6


class StoreMoved(StartError):
    """This store was moved to another place, or is a copy that is not finished."""

    code = "store_moved"
    exit_code = 6


class NoSuchStore(StartError):
    """There is no store, or no backup, at that place."""

    code = "no_such_store"
    exit_code = 3


class PlaceTaken(StartError):
    """There is something already where a backup or a restored store was to be made."""

    code = "place_taken"
    exit_code = 6


class BackupDamaged(StartError):
    """The backup is not what its manifest says."""

    code = "backup_damaged"
    exit_code = 1
