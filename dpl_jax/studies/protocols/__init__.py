"""The field's protocols: what is searched and trained on, what is evaluated on, over seeds.

Each is one function of a config and a folder. The folder gets a run for every search and training,
and a JSON file with all numbers; called again, only what is missing there is done.
"""
