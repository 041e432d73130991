"""Which rows train and which choose: hold-out validation, cross-validation, bootstrap resamples. Keeps groups together.

Knows nothing of tokens and of adapters. May import `targets`.
"""

from icecore.store import lazy_package

lazy_package(__name__)
