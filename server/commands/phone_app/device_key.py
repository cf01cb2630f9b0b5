"""This device's own key: made on it, never leaving it, and not in its backups."""

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from server.commands.held_client import ProofKey
from server.commands.phone_app.folder import PhoneFolder
from server.commands.phone_app.refusals import PhoneDamaged


def device_key(folder: PhoneFolder) -> ProofKey:
    """The key in the folder; a new one the first time, and when a backup was put back without it."""
    pem = folder.key_pem()
    if pem is None:
        made = ec.generate_private_key(ec.SECP256R1())
        folder.keep_key_pem(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return ProofKey(made)
    try:
        kept = load_pem_private_key(pem, None)
    except ValueError as broken:
        raise PhoneDamaged(f"{folder.path / 'device.key'} cannot be read.") from broken
    if not isinstance(kept, ec.EllipticCurvePrivateKey):
        raise PhoneDamaged(f"{folder.path / 'device.key'} is not a key of this phone.")
    return ProofKey(kept)
