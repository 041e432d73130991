"""Training inside a backbone: the in-backbone methods, their shared parts, and the training loop of one candidate.

May import the modules at the top of `live` alone.
"""
