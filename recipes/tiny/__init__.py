"""Pretraining of the embedded tiny CLIP on procedurally drawn images with captions.

Read in this order: `vocabulary` (what can be drawn and named), `strokes`, `glyphs`, `shapes`,
`textures` (grey masks of one thing), `atlas` (all masks), `scenes` (what an image shows),
`captions` (a sentence about it), `compose` (scene to pixels), `contrastive` (the loss),
`train` (the loop), `export` (recipe to folder), `assess` (zero-shot and linear probe).
"""
