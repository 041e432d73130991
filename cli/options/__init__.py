"""Settings of a stage from what a user writes: options of a command, or a block of pipelines.yaml.

Knows no default of any stage. May import `show`.
"""
