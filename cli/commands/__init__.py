"""The commands of `icecore`, one a file: words in, a call of a stage, lines out.

May import every other room of `cli`.
"""
