"""Opening, reading and verifying a store. Checks every chunk against the ledger before its values are used.

May import everything in `store` but `writing`.
"""
