"""Check a backbone's weights against a recorded SHA-256."""

from icecore.store import IdentityError


def require_weights(where: str, backbone: str, wanted: str | None, got: str) -> None:
    """Check that a backbone's weights have the recorded digest.

    `where` is the store or bundle that recorded the digest `wanted`; `got` is the SHA-256 of the loaded weights.

    Raises:
        IdentityError: the digests differ.
    """
    if wanted != got:
        raise IdentityError(
            f"{where}: made with {backbone} of weights {wanted}, got weights {got}; give that checkpoint"
        )
