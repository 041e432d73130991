"""Lines, tables, charts and progress on a terminal or in a file, and the words for quantities.

Computes no result. Imports no other room.
"""
