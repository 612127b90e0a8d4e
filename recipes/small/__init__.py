"""Pretraining of the small CLIP on photographs in class folders, with names for every class.

Read in this order: `names` (what classes are called, and captions), `photos` (folders to arrays),
`augment` (crops, flips, colour, patches), `loss`, `optimizer`, `train` (state, step and loop),
`zero_shot` (accuracies along the way), `export` (checkpoint to Hugging Face folder).
"""
