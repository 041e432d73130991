"""Creating, resuming and growing a store, safe against a kill at any point: finished shards are never lost.

May import everything in `store` but `reading`.
"""
