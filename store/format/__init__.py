"""The file formats inside a store: shards, array metadata, the table of samples, checksums, the identity.

Each module turns values into bytes and back. None knows a codec or a store as a whole. May import `files`.
"""
