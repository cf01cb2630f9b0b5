"""What `make run` tells whoever started it: who the people are, how to be them, and what to try."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

from server.commands.demo_cast import Cast
from server.commands.demo_file import DemoFile


def how_to_begin(demo: DemoFile, cast: Cast, path: Path) -> str:
    """The words to print once the demo is ready."""
    return "\n".join(_lines(demo, cast, path))


def _lines(demo: DemoFile, cast: Cast, path: Path) -> Iterator[str]:
    about = {person.held_subject: person.about for person in (*cast.citizens, *cast.refused)}
    yield ""
    yield f"Held is ready at {demo.base_url}. Everyone in it is made up."
    yield ""
    yield "Citizens (sign in with login_hint):"
    for citizen in demo.citizens:
        yield f"  {citizen.subject:28} {citizen.name}, NHS number {citizen.nhs_number}"
        if citizen.subject in about:
            yield f"  {'':28} {about[citizen.subject]}"
    for person in cast.refused:
        yield f"  {person.held_subject:28} {person.name}: {person.about}"
    yield ""
    yield "Professionals:"
    names = {one.held_subject: one.organisation_name for one in cast.professionals}
    for professional in demo.professionals:
        place = names.get(professional.subject, professional.organisation)
        yield f"  {professional.subject:28} {professional.name}, {professional.role}, {place}"
    yield ""
    yield "To sign in as someone, send a browser or any HTTP client to"
    yield f"  {demo.base_url}/oauth/authorize?{_sign_in_query(demo)}"
    yield "with a PKCE challenge of your own; the answer is a redirect with a code."
    yield f"Everything a program needs stands in {path}"
    yield ""
    yield "Try next, in another terminal:"
    yield "  make demo                       the whole journey, told step by step"
    yield f"  .venv/bin/held import --as {demo.citizens[0].nhs_number} FILE   send a FHIR Bundle for someone"
    yield "  .venv/bin/held import --new-person FILE      the same for someone who is not here yet"
    yield f"  {demo.base_url}/docs            every call"
    yield ""
    yield "Ctrl-C stops the server. What is in it stays for the next start."


def _sign_in_query(demo: DemoFile) -> str:
    phone = demo.clients.phone
    query = {
        "response_type": "code",
        "client_id": phone.client_id,
        "redirect_uri": phone.redirect_uri,
        "login_hint": demo.citizens[0].subject,
        "code_challenge_method": "S256",
    }
    return urlencode(query, safe=":/") + "&code_challenge=..."
