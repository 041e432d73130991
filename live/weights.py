"""The promise that a backbone is the one that something was made with."""

from icecore.store import IdentityError


def require_weights(where: str, backbone: str, wanted: str | None, got: str) -> None:
    """Raise IdentityError, with both digests, unless they are one."""
    if wanted != got:
        raise IdentityError(
            f"{where}: made with {backbone} of weights {wanted}, got weights {got}; give that checkpoint"
        )
