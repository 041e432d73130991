"""Access to files in a local folder or an object store, locks for their only writer, and checks before writing.

Knows nothing of file formats. May import only the modules at the top of `store`.
"""
