"""The figures of the report, each one function that draws into an SVG.

Reads the findings of a RUN and nothing else.
"""
