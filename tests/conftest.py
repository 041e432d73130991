"""What several test folders share: the real data beside the project, and small stores with known content."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("steady", deadline=None)  # how long an example takes says how busy the machine is
settings.load_profile("steady")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images and weights; a test that needs it is skipped where it is absent."""
    root = Path(os.environ.get("ICECORE_SHARED", Path(__file__).parents[2] / "shared"))
    if not (root / "weights").is_dir():
        pytest.skip(f"real data and weights are not at {root}; set ICECORE_SHARED")
    return root.resolve()


@pytest.fixture(scope="session")
def deit(shared: Path) -> Path:
    """The pretrained DeiT-Tiny."""
    return shared / "weights" / "deit_tiny_patch16_224.safetensors"
