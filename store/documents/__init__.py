"""The documents that make files a store: the root, the ledger of finished shards, and the small files that they name.

A store holds what its documents say and nothing else. May import `format`, `codecs` and `files`.
"""
