"""Training inside a backbone: the in-backbone methods, their shared parts, and the loop that trains one candidate.

May import the modules at the top of `live` alone.
"""
