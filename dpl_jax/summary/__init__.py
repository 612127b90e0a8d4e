"""Scores of predictions, intervals over seeds, tables and plots."""
