"""Exchange with the released PyTorch code of Differentiable Prompt Learning: docs/export.md."""
