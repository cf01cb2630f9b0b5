"""What every part of signing in stands on, made once by the application."""

import time
from datetime import datetime
from uuid import UUID

from server.errors import OAuthError
from server.identity.access_tokens import AccessTokens
from server.identity.bounded_cache import BoundedCache
from server.identity.clients import Clients
from server.identity.clock import DatabaseClock
from server.identity.dpop import JTI_KEPT_SECONDS, Expected, Proof, ProofChecker, ProofRefused
from server.identity.nonces import Nonces
from server.identity.people import People, RecordBook
from server.storage.directory_identity import is_family_live, revoke_family
from server.storage.engine import Storage
from server.storage.sealing import Sealer

SESSION_SEEN_SECONDS = 1.0
SESSIONS_SEEN_MAX = 50_000


class Parts:
    """The shared parts; see identity/service.py for how they are put together."""

    def __init__(
        self,
        *,
        base_url: str,
        storage: Storage,
        sealer: Sealer,
        access_tokens: AccessTokens,
        nonces: Nonces,
        records: RecordBook,
        nonce_clients: frozenset[str] = frozenset(),
    ) -> None:
        self.base_url = base_url
        self.storage = storage
        self.access_tokens = access_tokens
        self.nonces = nonces
        self.records = records
        self.nonce_clients = nonce_clients
        self.clock = DatabaseClock(storage)
        self.proofs = ProofChecker(nonces)
        self.clients = Clients(storage, base_url)
        self.people = People(storage)
        self._sealer = sealer
        self._live_sessions: BoundedCache[UUID, float] = BoundedCache(SESSIONS_SEEN_MAX)

    @property
    def token_url(self) -> str:
        return f"{self.base_url}/oauth/token"

    async def is_session_live(self, session_id: UUID) -> bool:
        """Whether a sign-in still stands; another process's ending of it may take a second to be seen here.

        Access grants are not judged by this: their rows are read on every request.
        """
        now = time.monotonic()
        seen_at = self._live_sessions.get(session_id)
        if seen_at is not None and now - seen_at < SESSION_SEEN_SECONDS:
            return True
        is_live = await self.storage.look_up(lambda session: is_family_live(session, session_id))
        if is_live:
            self._live_sessions.put(session_id, now)
        return is_live

    async def end_session(self, session_id: UUID) -> None:
        """Ends a sign-in: its refresh tokens, and the access tokens that name it."""
        await self.storage.register(lambda session: revoke_family(session, session_id))
        self._live_sessions.forget(session_id)

    async def spend(self, purpose: str, *parts: str, seconds: int) -> bool:
        """True the first time this identifier is used within `seconds`."""
        return await self.storage.spend_identifier(self._sealer.mac(purpose, *parts), seconds)

    async def spend_proof(self, proof: Proof) -> None:
        """Raises ProofRefused when the proof was used before."""
        if not await self.spend("dpop", proof.jkt, proof.jti, seconds=JTI_KEPT_SECONDS):
            raise ProofRefused("The proof was used before.")

    async def sender(self, proof: str | None, path: str, client_id: str | None, now: datetime) -> str:
        """The thumbprint of the key that sent a form to `path`. Raises OAuthError without a good proof."""
        if proof is None:
            raise OAuthError("invalid_dpop_proof", "Send one DPoP proof.")
        expected = Expected(
            method="POST",
            url=self.base_url + path,
            now=now,
            is_nonce_required=client_id in self.nonce_clients,
        )
        try:
            checked = self.proofs.check(proof, expected)
            await self.spend_proof(checked)
        except ProofRefused as refused:
            raise OAuthError(refused.error, str(refused)) from refused
        return checked.jkt
