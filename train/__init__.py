"""Stage two: many small adapters trained from a store, and the choice among them.

Reads stores and writes RUN folders and bundles. Knows nothing of images, and never runs a backbone.
"""

from icecore.store import lazy_package

lazy_package(__name__)
