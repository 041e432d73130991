"""Cached adapters beside in-backbone methods on the same rows: one table; and intrinsic dimension by submodule.

May import `finetune`.
"""

from icecore.store import lazy_package

lazy_package(__name__)
