"""Sweeps: the grid of datasets, shots and seeds as jobs of a cluster or of this machine.

A cell of the grid is one search, one training and one evaluation (:mod:`dpl_jax.sweep.cell`), run
as one job by submitit (:mod:`dpl_jax.sweep.cluster`). :mod:`dpl_jax.sweep.drive` keeps the jobs
going, and :mod:`dpl_jax.sweep.table` puts the results beside published ones.
"""
