"""Credentials: OAuth2 client credentials, tokens and clients. What is secret is told once, when it is made."""

from typing import Final

from homing.api.access import Doors, covers
from homing.api.answers import AccessToken, TokenItems, TokenReply
from homing.api.auth import Gatekeeper, Principal, mint
from homing.api.decode import shape
from homing.api.idempotency import apply_once
from homing.api.paging import cursor_of, page, text_in
from homing.api.ports import Settings
from homing.api.problems import OAuthError
from homing.api.routing import Call, Operation
from homing.api.schema import ClientCredentials, Nothing, Page, TokenCreate
from homing.api.wire import NO_CONTENT, NO_STORE, Answer, is_form, reply, require_json, require_plain
from homing.clock import Clock
from homing.contract.notification import iso_utc
from homing.errors import Forbidden, NotAcceptable, NotFound, RequestError, Unauthorized
from homing.model import Token
from homing.store.changes import CreateToken, DeleteToken
from homing.store.port import Registry

OAUTH_PATH: Final = "/1/auth/oauth"


class Tokens:
    """The operations on credentials."""

    def __init__(
        self, registry: Registry, doors: Doors, gate: Gatekeeper, settings: Settings, clock: Clock
    ) -> None:
        self._registry = registry
        self._doors = doors
        self._gate = gate
        self._settings = settings
        self._clock = clock

    def operations(self) -> "tuple[Operation, ...]":  # type: ignore[type-arg] # each has its own types
        """What is declared here."""
        return (
            Operation(
                method="POST", path=OAUTH_PATH, handler=self.grant, query=Nothing, body=Nothing,
                answer=AccessToken, status=200, summary="Get a short-lived token for client credentials",
                tag="Credentials", reads=ClientCredentials, is_public=True, is_compatible=True, errors=(Unauthorized,),
            ),
            Operation(
                method="GET", path="/1/tokens", handler=self.list, query=Page, body=Nothing, answer=TokenItems,
                status=200, summary="List tokens and clients", tag="Credentials", needs=("manage",),
            ),
            Operation(
                method="POST", path="/1/tokens", handler=self.create, query=Nothing, body=TokenCreate,
                answer=TokenReply, status=201, summary="Make a token or a client", tag="Credentials",
                needs=("manage",), errors=(NotFound,),
            ),
            Operation(
                method="DELETE", path="/1/tokens/{tokenId}", handler=self.delete, query=Nothing, body=Nothing,
                answer=None, status=204, summary="Revoke a token, or a client with all of its tokens",
                tag="Credentials", needs=("manage",),
            ),
        )  # fmt: skip

    async def grant(self, call: Call, _query: Nothing, _body: Nothing) -> Answer:
        """Give a client a token of its scopes and applications; credentials from query, form or JSON."""
        credentials = self._credentials(call)
        client = await self._gate.client(credentials.client_id, credentials.client_secret)
        now_ms = self._clock.now_ms()
        expires_at_ms = now_ms + self._settings.access_token_s * 1000
        if client.expires_at_ms is not None:
            expires_at_ms = min(expires_at_ms, client.expires_at_ms)
        new = mint("access")
        await self._registry.apply(
            # Named after its client: it is good only as long as the client is there.
            CreateToken(new.id, client.id, "access", new.digest, client.scopes, client.apps, expires_at_ms)
        )
        granted = AccessToken(
            access_token=new.text,
            token_type="Bearer",  # noqa: S106 - the kind of token, not a token
            expires_in=max(1, (expires_at_ms - now_ms) // 1000),
            scope=" ".join(client.scopes),
        )
        return reply(200, granted, NO_STORE)

    async def list(self, call: Call, query: Page, _body: Nothing) -> Answer:
        """List what the asker may know of, oldest first."""
        after = text_in(query.cursor)
        mine = [
            token
            for token in await self._registry.tokens()
            if token.kind != "access" and token.id > after and covers(call.principal, token)
        ]
        items, last = page(mine[: query.limit + 1], query.limit)
        shown = TokenItems(
            items=tuple(_show(token) for token in items),
            next_cursor=None if last is None else cursor_of(last.id),
        )
        return reply(200, shown)

    async def create(self, call: Call, _query: Nothing, it: TokenCreate) -> Answer:
        """Make a token that can do no more than the one it is asked with."""
        apps = await self._apps(call.principal, it)
        if not call.principal.scopes.issuperset(it.scopes):
            raise Forbidden("a token cannot give scopes that it does not have")
        expires_at_ms = None
        if it.expires_in_seconds is not None:
            expires_at_ms = self._clock.now_ms() + it.expires_in_seconds * 1000
        new = mint(it.kind)
        scopes = tuple(dict.fromkeys(it.scopes))

        def show(token: Token, is_first: bool) -> TokenReply:
            return _show(token, secret=new.text if is_first else None)

        change = CreateToken(new.id, it.name, it.kind, new.digest, scopes, apps, expires_at_ms)
        return await apply_once(self._registry, call, change, show)

    async def delete(self, call: Call, _query: Nothing, _body: Nothing) -> Answer:
        """Revoke a token; within a second it is refused everywhere."""
        token = await self._doors.access_token(call.principal, call.params["tokenId"])
        await self._registry.apply(DeleteToken(token.id))
        return NO_CONTENT

    async def _apps(self, principal: Principal, it: TokenCreate) -> tuple[int, ...] | None:
        if isinstance(it.apps, str):
            if principal.apps is not None:
                raise Forbidden("a token cannot give applications that it does not reach")
            return None
        return tuple([(await self._doors.access_app(principal, app)).id for app in dict.fromkeys(it.apps)])

    def _credentials(self, call: Call) -> ClientCredentials:
        wanted = shape(ClientCredentials)
        if not call.body:
            return wanted.of_pairs(call.query)
        if is_form(call.headers):
            require_plain(call.headers)
            return wanted.of_pairs(call.body)
        require_json(call.headers)
        return wanted.of_json(call.body)[0]


def oauth_error(error: Exception) -> OAuthError | None:
    """Return what RFC 6749 §5.2 calls this error, for libraries that know only its words."""
    if isinstance(error, Unauthorized):
        return "invalid_client"
    if isinstance(error, NotAcceptable):
        return "unsupported_grant_type"
    return "invalid_request" if isinstance(error, RequestError) else None


def _show(token: Token, secret: str | None = None) -> TokenReply:
    is_client = token.kind == "client"
    extra: dict[str, str] = {"client_id": token.id} if is_client else {}
    if secret is not None:
        extra["client_secret" if is_client else "token"] = secret
    return TokenReply(
        id=token.id,
        name=token.name,
        kind="client" if is_client else "token",
        scopes=token.scopes,  # type: ignore[arg-type] # checked when it was made
        apps="all" if token.apps is None else token.apps,
        created_at=iso_utc(token.created_at_ms, "ms"),
        expires_at=None if token.expires_at_ms is None else iso_utc(token.expires_at_ms, "ms"),
        **extra,
    )
