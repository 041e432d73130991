"""The documents of a store: the root, the ledger of finished shards, and the small files that the root lists.

A file that no document lists is not part of the store. May import `format`, `codecs` and `files`.
"""
