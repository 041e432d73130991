"""Choosing among trained adapters: selectors, honest estimates, the test split (read once), the bundle.

May import every other room of `train`.
"""

from icecore.store import lazy_package

lazy_package(__name__)
