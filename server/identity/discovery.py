"""What a client may learn before it signs anyone in. Nothing is listed that does not work.

https://www.rfc-editor.org/rfc/rfc8414 · https://hl7.org/fhir/smart-app-launch/conformance.html
"""

from collections.abc import Sequence
from typing import Any

from server.identity.clients import ASSERTION_ALGORITHMS
from server.identity.dpop import PROOF_ALGORITHMS

SMART_CAPABILITIES = (
    "launch-standalone",
    "client-public",
    "client-confidential-asymmetric",
    "context-standalone-patient",
    "permission-patient",
    "permission-v2",
)


def authorization_server(base_url: str, grant_types: Sequence[str], scopes: Sequence[str]) -> dict[str, Any]:
    """`/.well-known/oauth-authorization-server`."""
    return {
        "issuer": base_url,
        "authorization_endpoint": f"{base_url}/oauth/authorize",
        "token_endpoint": f"{base_url}/oauth/token",
        "revocation_endpoint": f"{base_url}/oauth/revoke",
        "introspection_endpoint": f"{base_url}/oauth/introspect",
        "jwks_uri": f"{base_url}/.well-known/jwks.json",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": list(grant_types),
        "scopes_supported": list(scopes),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": list(ASSERTION_ALGORITHMS),
        "revocation_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
        "introspection_endpoint_auth_methods_supported": ["private_key_jwt"],
        "dpop_signing_alg_values_supported": list(PROOF_ALGORITHMS),
        "authorization_response_iss_parameter_supported": True,
    }


def smart_configuration(base_url: str, grant_types: Sequence[str], scopes: Sequence[str]) -> dict[str, Any]:
    """`/.well-known/smart-configuration`."""
    shared = authorization_server(base_url, grant_types, scopes)
    return {**shared, "capabilities": list(SMART_CAPABILITIES)}
