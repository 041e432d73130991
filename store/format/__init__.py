"""The pieces that a store's files are made of: shards, array metadata, the table of samples, checksums, the identity.

Each module turns values into bytes and back. Knows no codec and no store as a whole. May import `files`.
"""
