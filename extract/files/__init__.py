"""Bytes on disk as sources find them: folders, tars, Parquet row groups, manifests, with a count of what is left out.

Knows nothing of labels and of models. May import `decoding`, to tell which files are images.
"""

from icecore.store import lazy_package

lazy_package(__name__)
