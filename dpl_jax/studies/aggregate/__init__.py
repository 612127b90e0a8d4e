"""The results of many runs in one table: ``python -m dpl_jax.results RUN...``.

Runs are found in folders (:mod:`dpl_jax.studies.aggregate.records`), those that differ in their
seed alone become one row (:mod:`dpl_jax.studies.aggregate.rows`), and the rows are written as text,
Markdown, CSV or LaTeX (:mod:`dpl_jax.results`).
"""
