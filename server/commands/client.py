"""`held client add|rotate`: registers an integrator with its public key, or gives it another key."""

import argparse
import asyncio
import os
import secrets
import sys
from pathlib import Path

import msgspec

from server.commands.problems import settings_or_none
from server.errors import HeldError
from server.identity.clients import KEY_OVERLAP_SECONDS, Clients, integrator
from server.identity.tokens import Jwk, TokenRefused
from server.intake.organisations import Organisation, register_organisation
from server.settings import Settings
from server.storage.backend import StorageUnsafe
from server.storage.engine import Storage
from server.storage.keys import KeyFile, KeyUnusable

JWKS_BYTES_MAX = 64 * 1024


class _Jwks(msgspec.Struct, frozen=True):
    keys: list[dict[str, msgspec.Raw]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    actions = parser.add_subparsers(dest="action", required=True)
    add = actions.add_parser("add", help="register an integrator and the organisation it speaks for")
    add.add_argument("--organisation", required=True, metavar="ODS", help="the organisation's ODS code")
    add.add_argument("--name", required=True, help="the organisation's name, as citizens will read it")
    add.add_argument("--jwks", required=True, type=Path, metavar="FILE", help="its public key (RFC 7517)")
    add.add_argument("--client-id", help="its id; made up when not given")
    rotate = actions.add_parser("rotate", help="give an integrator another key")
    rotate.add_argument("client_id")
    rotate.add_argument("--jwks", required=True, type=Path, metavar="FILE", help="its new public key")
    rotate.add_argument("--leaked", action="store_true", help="stop the old keys at once, not after a day")


def run(arguments: argparse.Namespace) -> int:
    """Prints the client_id; 1 when the registration was refused."""
    settings = settings_or_none(os.environ)
    if settings is None:
        return 1
    try:
        print(asyncio.run(_carry_out(settings, arguments)))
    except (HeldError, TokenRefused, KeyUnusable, StorageUnsafe, msgspec.DecodeError, OSError) as refused:
        print(f"Not registered: {refused}", file=sys.stderr)
        return 1
    return 0


async def _carry_out(settings: Settings, arguments: argparse.Namespace) -> str:
    jwk = read_public_key(arguments.jwks)
    storage = await Storage.open(settings.database_url, KeyFile.open(settings.key_file))
    try:
        clients = Clients(storage, settings.base_url)
        if arguments.action == "rotate":
            overlap = 0 if arguments.leaked else KEY_OVERLAP_SECONDS
            await clients.rotate(arguments.client_id, jwk, overlap_seconds=overlap)
            return arguments.client_id
        client_id = arguments.client_id or f"integrator-{secrets.token_hex(8)}"
        named = {"name": arguments.name, "organisation": arguments.organisation}
        await clients.register(integrator(client_id, **named, jwk=jwk))
        await register_organisation(storage, Organisation(**named))
        return client_id
    finally:
        await storage.close()


def read_public_key(path: Path) -> Jwk:
    """The one key in a JWKS or JWK file. Raises TokenRefused when there is not one, or it is private."""
    content = path.read_bytes()
    if len(content) > JWKS_BYTES_MAX:
        raise TokenRefused("The file is too large to be a key.")
    members = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    if "keys" in members:
        listed = msgspec.json.decode(content, type=_Jwks).keys
        if len(listed) != 1:
            raise TokenRefused("Give one key at a time. Add further keys with `held client rotate`.")
        members = listed[0]
    if "d" in members or "k" in members:
        raise TokenRefused("This file holds a private key. Ask the integrator for the public one.")
    return msgspec.json.decode(msgspec.json.encode(members), type=Jwk)
