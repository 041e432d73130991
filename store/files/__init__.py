"""Files wherever they are: a local folder or an object store, who may write there, and what is there already.

Knows nothing of what the files say. May import the modules at the top of `store` alone.
"""
