"""Named pipelines of pipelines.yaml: planned as a whole, then run stage by stage, skipping what is up to date.

May import `options`, `report` and `show`.
"""
