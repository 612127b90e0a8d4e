"""Pretraining of the small CLIP on photographs in class folders, with names for every class.

Read in this order: `names` (what classes are called, and captions), `wordnet` (further words),
`photos` (folders to arrays), `augment` (crops, flips, colour), `towers` (some of the patches),
`loss`, `optimizer`, `state` (and its checkpoint), `train` (step and loop), `zero_shot` (accuracies
along the way), `export` (checkpoint to Hugging Face folder).
"""
