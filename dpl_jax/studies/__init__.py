"""Studies of many runs: ablations, comparisons, the field's protocols, sweeps, tables."""
