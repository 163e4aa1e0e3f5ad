"""Protocols, metrics, the results store, tables and plots.

`metrics` scores boxes, `store` keeps them, `comparison` gathers the scores of several trackers, which `tables` and
`plots` show; `raw_results` reads the result files that other trackers' authors published.
"""
