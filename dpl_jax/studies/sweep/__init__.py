"""Sweeps: the grid of datasets, shots and seeds as jobs of a cluster or of this machine.

A cell of the grid is one search, one training and one evaluation
(:mod:`dpl_jax.studies.sweep.cell`). :mod:`dpl_jax.studies.sweep.watch` gives those that have not
finished to a scheduler (:mod:`dpl_jax.studies.sweep.cluster`), and
:mod:`dpl_jax.studies.sweep.table` puts the results beside published ones.
"""
