"""Named pipelines of pipelines.yaml: all settings are checked first, then each stage runs unless it is up to date.

May import `options`, `report` and `show`.
"""
