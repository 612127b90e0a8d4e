"""Pretrains the small CLIP on photographs; started again, it goes on from its last checkpoint.

python -m recipes.pretrain --config=recipes/small/config.py --workdir=RUN \
    --config.data.root=DIR --config.data.names=FILE --config.data.words=words.json
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """Returns the recipe."""
    config = ml_collections.ConfigDict()

    config.recipe = "small"
    # Everything random follows from it: weights, order, crops, captions.
    config.seed = 0

    data = config.data = ml_collections.ConfigDict()
    # Folder with train/CLASS/* and val/CLASS/*.
    data.root = ""
    # JSON file with {"names": {CLASS: [its names, those of its hypernym, of that one's, ...]}}.
    data.names = ""
    # JSON file of the same form with further words, for config.words: recipes/small/wordnet.py.
    data.words = ""
    # Folders of tasks that are never trained on, for zero-shot accuracies along the way.
    data.tasks = ()
    # Photos of each task, and of the validation photos, that are looked at along the way.
    data.looked_at = 2000

    # Passes over the photos. The learning rate warms up, stays, and falls in the last passes only,
    # so that a run may be given more or fewer epochs as long as it is not in those.
    config.epochs = 30
    config.cooldown_epochs = 6
    config.warmup_steps = 300
    # Photos and captions of a step.
    config.batch_size = 256
    config.captions = 128
    # So many of the captions have words that no class is called, true of their kind; 0 for none.
    config.words = 32

    # Peak learning rate of Muon (the layers' matrices) and of Adam (all else).
    config.learning_rate = 2e-3
    # Decay of weights, per unit of learning rate.
    config.weight_decay = 0.1
    # Gradients are scaled down to this global norm.
    config.clip_norm = 1.0
    # Memory of the average of the weights that is kept.
    config.average_decay = 0.998
    # Weight of the loss of telling classes by a learned vector each, beside the contrastive loss.
    config.proxy_weight = 1.0

    # Least share of a photo's area that a crop keeps, and strength of the changes of colour.
    config.crop_area = 0.4
    config.colour = 0.3
    # Of the 64 patches, as many are seen in training (FLIP: Li et al., 2023); in the last epochs
    # all of them.
    config.kept_patches = 24
    config.full_epochs = 1

    # Input pixels a side, and pixels a side of a patch.
    config.image_size = 32
    config.patch_size = 4
    # Width of the towers, and of each attention head; the MLPs are four times as wide.
    config.image_width = 192
    config.text_width = 160
    config.head_width = 32
    # Layers of the towers.
    config.image_layers = 8
    config.text_layers = 6
    # Length of the common feature.
    config.projection_dim = 192
    # Standard deviation that the image tower's position embeddings start with.
    config.position_scale = 0.5

    # Tokens of the tokenizer: 512 bytes, merges, start and end of text.
    config.vocab_size = 4096
    # Positions of the text tower, as CLIP's, and tokens that captions are padded to.
    config.context_length = 77
    config.caption_length = 24

    # Steps between two rows of metrics.jsonl, between two looks at the zero-shot accuracies (a
    # multiple of it), and minutes between two checkpoints.
    config.log_every = 20
    config.look_every = 600
    config.checkpoint_minutes = 5.0
    return config
