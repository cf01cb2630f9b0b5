"""Sends extracts as an integrator, over HTTP alone, and waits for their reports."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx

from server.commands.demo_file import DemoIntegrator
from server.commands.held_client import HeldClient, Unexpected, private_key_of

FHIR_JSON = "application/fhir+json;fhirVersion=4.0"
SETTLED = frozenset({"held", "done", "retracted"})
# A large extract is asked after less and less often.
FIRST_PAUSE_SECONDS = 0.05
PAUSE_SECONDS_MAX = 1.0
REPORT_SECONDS_MAX = 300.0
BUSY = frozenset({429, 503})

Report = dict[str, Any]


class ExtractUnsettled(Exception):
    """The extract has no report yet."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


class ExtractSender:
    """One integrator, signed in. Its tokens live five minutes, so it signs in again when one has died."""

    def __init__(self, http: httpx.AsyncClient, base_url: str, integrator: DemoIntegrator) -> None:
        self.integrator = integrator
        self.client = HeldClient(http, base_url)
        self._key = private_key_of(integrator.jwk)

    async def send(
        self,
        body: bytes,
        *,
        content_type: str = FHIR_JSON,
        progress: Callable[[Report], None] | None = None,
        **query: str,
    ) -> Report:
        """The settled report of an extract. Raises Unexpected when it is refused at once."""
        headers = {"Content-Type": content_type}
        response = await self.call("POST", "/extracts", content=body, headers=headers, params=query)
        if response.status_code != 202:
            raise Unexpected("POST /extracts", response)
        location = response.headers.get("location")
        if location is None:
            return response.json()
        return await self.settled(location, progress)

    async def settled(self, location: str, progress: Callable[[Report], None] | None = None) -> Report:
        """The report once nothing more will happen to the extract. Raises ExtractUnsettled after minutes."""
        pause = FIRST_PAUSE_SECONDS
        deadline = asyncio.get_running_loop().time() + REPORT_SECONDS_MAX
        while asyncio.get_running_loop().time() < deadline:
            response = await self.call("GET", location)
            if response.status_code != 200:
                raise Unexpected(f"GET {location}", response)
            report: Report = response.json()
            if report["state"] in SETTLED:
                return report
            if progress is not None:
                progress(report)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, PAUSE_SECONDS_MAX)
        raise ExtractUnsettled

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One call as the integrator; signs in when it must, and waits its turn when the server is busy."""
        if self.client.token is None:
            await self._sign_in()
        response = await self.client.call(method, path, **options)
        if response.status_code == 401:
            await self._sign_in()
            response = await self.client.call(method, path, **options)
        if response.status_code in BUSY:
            await asyncio.sleep(min(float(response.headers.get("retry-after", "1")), 10))
            response = await self.client.call(method, path, **options)
        return response

    def sign_in_form(self, *, as_client: str | None = None) -> dict[str, str]:
        """A sign-in of this integrator, signed with its own key; for tests, `as_client` of another's name."""
        name = as_client or self.integrator.client_id
        return self.client.integrator_form(name, self._key, self.integrator.kid)

    async def _sign_in(self) -> None:
        await self.client.sign_in_integrator(self.integrator.client_id, self._key, self.integrator.kid)
