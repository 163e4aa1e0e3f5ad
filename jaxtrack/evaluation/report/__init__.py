"""The report of a comparison: one HTML file that needs nothing beside itself, and the summary as a LaTeX table.

`one_pass` and `supervised` say what stands in it, `page` how it is shown.
"""
