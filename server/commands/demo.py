"""`held demo`: plays the whole journey over HTTP alone, and at each step checks what must not be possible."""

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path

import httpx
import msgspec

from server.commands.demo_file import DemoFile, demo_path, read_demo
from server.commands.demo_steps import (
    ending,
    extracts,
    logging_steps,
    misuse,
    offering,
    on_a_phone,
    putting_right,
    reading,
    signing_in,
)
from server.commands.demo_steps.journey import Journey, Step
from server.commands.held_client import Unexpected
from server.commands.phone_app.refusals import PhoneRefusal

HTTP_SECONDS_MAX = 60
LIVE = frozenset({"offered", "pending", "active"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--demo-file", type=Path, metavar="FILE", help="demo.json, if not in HELD_DATA_DIR")


def run(arguments: argparse.Namespace) -> int:
    """0 when every step is as promised; 1 names the first that is not."""
    path = arguments.demo_file or demo_path(os.environ)
    try:
        demo = read_demo(path)
    except (FileNotFoundError, msgspec.DecodeError):
        print(f"There is no demo at {path}. Start one with `make run` and try again.", file=sys.stderr)
        return 1
    return asyncio.run(_play(demo))


async def _play(demo: DemoFile) -> int:
    async with httpx.AsyncClient(timeout=HTTP_SECONDS_MAX, trust_env=False) as http:
        journey = Journey(http, demo)
        began = time.monotonic()
        try:
            failed = await _play_steps(journey)
        finally:
            await _clean_up(journey)
    if failed is None:
        print(f"\nAll {len(_steps())} steps are as promised, in {time.monotonic() - began:.1f} seconds.")
        return 0
    print(f"\nStopped at: {failed.sentence}.", file=sys.stderr)
    return 1


def _steps() -> list[Step]:
    parts = (
        signing_in,
        extracts,
        offering,
        reading,
        misuse,
        logging_steps,
        ending,
        on_a_phone,
        putting_right,
    )
    return [step for part in parts for step in part.steps()]


async def _play_steps(journey: Journey) -> Step | None:
    """The step that failed, if one did."""
    for step in _steps():
        try:
            await step.play(journey)
        except Exception as problem:  # Whatever it is, the journey stops here and says so.
            print(f"✗ {step.sentence}", flush=True)
            print(f"  {_in_words(problem)}", flush=True)
            return step
        print(f"✓ {step.sentence}", flush=True)
    return None


def _in_words(problem: Exception) -> str:
    if isinstance(problem, httpx.HTTPError):
        return f"the server could not be reached ({type(problem).__name__})"
    return str(problem) if str(problem) else f"{type(problem).__name__}"


async def _clean_up(journey: Journey) -> None:
    """Ends whatever this play left open, so that the demo can be played again."""
    for tidy in reversed(journey.afterwards):
        try:
            await tidy()
        except (Unexpected, httpx.HTTPError, PhoneRefusal) as problem:
            print(f"  cleaning up failed: {_in_words(problem)}", file=sys.stderr)
    if not journey.offered:
        return
    try:
        listed = await journey.citizen.expect(200, "GET", f"{journey.record}/grants")
        for grant in listed["grants"]:
            if grant["grant_id"] in journey.offered and grant["state"] in LIVE:
                path = f"{journey.record}/grants/{grant['grant_id']}/end"
                await journey.citizen.expect(200, "POST", path, json={})
    except (Unexpected, httpx.HTTPError) as problem:
        print(f"  cleaning up failed: {_in_words(problem)}", file=sys.stderr)
