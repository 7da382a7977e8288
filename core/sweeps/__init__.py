"""Sweeps: a grid of runs, measured on a Dask cluster, kept as Parquet files.

`study` is what a file asks for, `grid` the runs that follow, `quantities` what can be asked of one,
`cell` measures one run on a worker, `store` keeps the rows, `running` is the only file that knows
Dask. May import everything else of core. Start with `study`, then `running`.
"""
