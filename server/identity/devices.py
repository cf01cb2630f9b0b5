"""What has become of the key a phone signs with: ending a phone ends its key, whatever tokens it holds."""

from server.errors import DeviceEnded, NotSignedIn
from server.storage.directory_devices import LIVE, WIPED, DeviceOfKey


def require_live_key(device: DeviceOfKey) -> None:
    """DeviceEnded when the phone's access was ended; NotSignedIn once it has said that it holds nothing more.

    A wiped phone's key stays refused for good: whoever holds the phone could otherwise have its refresh token
    work again by saying that it was wiped.
    """
    if device.state == WIPED:
        raise NotSignedIn("This key's access has ended. Sign in with a new one.")
    if device.state != LIVE:
        raise DeviceEnded
