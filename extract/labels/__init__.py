"""Labels, targets, splits and groups of rows, from the columns, files and folders that name them.

Knows nothing of images. May import `files`.
"""
