"""What prompt learning is compared with: other prompts, and classifiers on CLIP's features.

Trained by gradient, all of them :class:`dpl_jax.baselines.method.Method`: CoOp, VPT, IVLP, MaPLe.
On features that are computed once: the template ensemble, the linear probe, Tip-Adapter. And prompt
lengths that nobody searched for.
"""
