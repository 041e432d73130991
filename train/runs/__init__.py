"""What a sweep leaves on disk: the RUN folder, its ledger, the validation predictions, and their checksums.

Knows nothing of how adapters train. May import `adapters`, `splits`, `targets` and `tokens`.
"""

from icecore.store import lazy_package

lazy_package(__name__)
