"""Stage one: images through a frozen backbone into a store. Imports the store, and knows nothing of training."""

from icecore.store import lazy_package

lazy_package(__name__)
