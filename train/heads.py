"""How many heads an attention has unless it is told."""

HEAD_WIDTH = 64  # of the usual vision transformers


def default_heads(width: int) -> int:
    """Return one head for every 64 channels, or the next smaller number that divides the width."""
    return next(count for count in range(max(1, width // HEAD_WIDTH), 0, -1) if width % count == 0)
