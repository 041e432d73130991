"""The backbone `icecore_nano`, a small vision transformer whose weights come with the package.

Importing this module registers the name with timm. docs/guides/icecore_nano.md says how and why it was trained.
"""

from pathlib import Path
from typing import Any

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vision_transformer import VisionTransformer

WEIGHTS = Path(__file__).parents[1] / "weights" / "icecore_nano.safetensors"

default_cfgs = generate_default_cfgs(  # register_model reads this name
    {
        "icecore_nano": {
            "file": str(WEIGHTS),
            "num_classes": 0,  # shipped without a classifier
            "input_size": (3, 64, 64),
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "mean": IMAGENET_DEFAULT_MEAN,
            "std": IMAGENET_DEFAULT_STD,
            "first_conv": "patch_embed.proj",
            "license": "apache-2.0",
        }
    }
)


@register_model
def icecore_nano(pretrained: bool = False, **settings: Any) -> VisionTransformer:
    """Build a vision transformer of 9 blocks, width 192 and 3 heads, for 64 x 64 pixels in 8 x 8 patches."""
    shape = {"img_size": 64, "patch_size": 8, "embed_dim": 192, "depth": 9, "num_heads": 3, "mlp_ratio": 7 / 3}
    return build_model_with_cfg(VisionTransformer, "icecore_nano", pretrained, **{**shape, **settings})
