"""Creating, resuming and growing a store, so that a kill at any point loses nothing that was finished.

May import everything in `store` but `reading`.
"""
