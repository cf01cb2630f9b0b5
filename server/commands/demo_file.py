"""demo.json: how any program can be any of the demo's people. Development only (DESIGN section 4, Demo)."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

DEMO_FILE = "demo.json"


class DemoClient(msgspec.Struct, frozen=True, kw_only=True):
    """One of Held's own two clients."""

    client_id: str
    redirect_uri: str


class DemoClients(msgspec.Struct, frozen=True, kw_only=True):
    """The clients people sign in with."""

    phone: DemoClient
    portal: DemoClient


class DemoCitizen(msgspec.Struct, frozen=True, kw_only=True):
    """A citizen and their record."""

    subject: str
    name: str
    nhs_number: str
    birth_date: str
    record_id: str
    patient_id: str


class DemoProfessional(msgspec.Struct, frozen=True, kw_only=True):
    """A professional and their role."""

    subject: str
    name: str
    role_code: str
    role: str
    organisation: str


class DemoIntegrator(msgspec.Struct, frozen=True, kw_only=True):
    """An integrator. `jwk` is its private key: nothing but made-up people stands behind it."""

    client_id: str
    organisation: str
    jwk: dict[str, Any]
    kid: str


class DemoFile(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file."""

    base_url: str
    clients: DemoClients
    citizens: list[DemoCitizen]
    professionals: list[DemoProfessional]
    integrators: list[DemoIntegrator]


def demo_path(environ: Mapping[str, str]) -> Path:
    """Where this installation's file is."""
    return Path(environ.get("HELD_DATA_DIR", "var")) / DEMO_FILE


def read_demo(path: Path) -> DemoFile:
    """The file. Raises FileNotFoundError while there is none and msgspec.DecodeError when it is not one."""
    return msgspec.json.decode(path.read_bytes(), type=DemoFile)


def write_demo(path: Path, demo: DemoFile) -> None:
    """Writes the file whole or not at all, for this user alone. The same content is not written again."""
    content = msgspec.json.format(msgspec.json.encode(demo)) + b"\n"
    if path.exists() and path.read_bytes() == content:
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
