"""How the CLIPs that come with dpl_jax were pretrained, and can be again; not in the wheel.

`tiny` learns from images that a program draws, `small` from photographs in class folders. Shared:
`pretrain`, `export` and `assess` (the commands), `contrastive` (losses), `sizes`, `common_words`,
`tokenizer_training`, `clip_folder` (what is written), `accuracy`.
"""
