"""How the CLIPs that come with dpl_jax were pretrained, and can be again; not in the wheel.

`tiny` learns from images that a program draws. Shared: `pretrain` and `assess` (the commands),
`contrastive` (the losses), `tokenizer_training`, `common_words`, `clip_folder` (what is written).
"""
