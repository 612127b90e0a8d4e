"""The same search in PyTorch, written the straightforward way on CLIP's own building blocks.

A layer runs one ``nn.MultiheadAttention`` for every candidate length and adds up the results; texts
have 77 tokens, as OpenAI's CLIP has them. Only prompts and alphas require gradients.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from dpl_jax.clip.config import ClipConfig, TowerConfig
from dpl_jax.clip.texts import end_positions


class Layer(nn.Module):
    """One pre-norm transformer layer, its attention a mixture over prompt lengths."""

    def __init__(self, config: TowerConfig, longest: int) -> None:
        super().__init__()
        width = config.hidden_size
        self.norm1 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.attention = nn.MultiheadAttention(width, config.num_attention_heads, batch_first=True)
        self.norm2 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.fc1 = nn.Linear(width, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, width)
        self.prompts = nn.ParameterList(
            [nn.Parameter(0.02 * torch.randn(size, width)) for size in range(longest + 1)]
        )
        self.alpha = nn.Parameter(1e-3 * torch.randn(longest + 1))

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Maps (B, S, D) to (B, S, D); mask (S, S) is added to the scores."""
        weights = self.alpha.softmax(dim=-1)
        mixed = torch.zeros_like(x)
        for weight, prompt in zip(weights, self.prompts, strict=True):
            rows = prompt.expand(len(x), -1, -1)  # (B, m, D)
            seen = self.norm1(torch.cat([x, rows], dim=1))  # (B, S + m, D)
            wide = None if mask is None else functional.pad(mask, (0, len(prompt)))  # (S, S + m)
            attended, _ = self.attention(
                self.norm1(x), seen, seen, need_weights=False, attn_mask=wide
            )
            mixed = mixed + weight * attended
        x = x + mixed
        hidden = self.fc1(self.norm2(x))
        return x + self.fc2(hidden * torch.sigmoid(1.702 * hidden))


class Tower(nn.Module):
    """The layers of one tower and what stands before and behind them."""

    def __init__(self, config: TowerConfig, positions: int, features: int, longest: int) -> None:
        super().__init__()
        width = config.hidden_size
        self.position = nn.Parameter(0.02 * torch.randn(positions, width))
        layers = [Layer(config, longest) for _ in range(config.num_hidden_layers)]
        self.layers = nn.ModuleList(layers)
        self.last_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.projection = nn.Linear(width, features, bias=False)

    def run(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """All layers."""
        for layer in self.layers:
            x = layer(x, mask)
        return x


class ImageTower(Tower):
    """CLIP's vision transformer."""

    def __init__(self, sizes: ClipConfig, longest: int) -> None:
        vision = sizes.vision
        super().__init__(vision, vision.grid**2 + 1, sizes.projection_dim, longest)
        self.patches = nn.Conv2d(
            3, vision.hidden_size, vision.patch_size, stride=vision.patch_size, bias=False
        )
        self.class_token = nn.Parameter(0.02 * torch.randn(vision.hidden_size))
        self.first_norm = nn.LayerNorm(vision.hidden_size, eps=vision.layer_norm_eps)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features (B, F) of images (B, 3, H, W)."""
        x = self.patches(images).flatten(2).transpose(1, 2)  # (B, S-1, D)
        x = torch.cat([self.class_token.expand(len(x), 1, -1), x], dim=1) + self.position
        x = self.run(self.first_norm(x), None)
        return self.projection(self.last_norm(x[:, 0]))


class TextTower(Tower):
    """CLIP's causal text transformer."""

    def __init__(self, sizes: ClipConfig, longest: int) -> None:
        text = sizes.text
        super().__init__(text, text.max_position_embeddings, sizes.projection_dim, longest)
        self.embedding = nn.Embedding(text.vocab_size, text.hidden_size)

    def forward(self, input_ids: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
        """Features (C, F) of token ids (C, 77) whose texts end at ``ends`` (C,)."""
        tokens = input_ids.shape[1]
        mask = torch.full((tokens, tokens), -math.inf, device=input_ids.device).triu(1)
        x = self.run(self.embedding(input_ids) + self.position, mask)
        return self.projection(self.last_norm(x[torch.arange(len(x)), ends]))


class TorchSearch:
    """A search: the model, its two optimisers and one pair of batches."""

    def __init__(
        self,
        sizes: ClipConfig,
        input_ids: np.ndarray,
        batches: tuple[Any, Any],
        longest: int,
        *,
        device: str = "cpu",
        bfloat16: bool = False,
    ) -> None:
        """Batches are those of :mod:`benchmarks.problem`: a train and a validation one."""
        torch.manual_seed(0)
        self.precision = torch.autocast(device, torch.bfloat16, enabled=bfloat16)
        self.image = ImageTower(sizes, longest).to(device)
        self.text = TextTower(sizes, longest).to(device)
        modules = nn.ModuleList([self.image, self.text]).requires_grad_(False)
        layers = [*self.image.layers, *self.text.layers]
        alphas = [layer.alpha.requires_grad_(True) for layer in layers]
        prompts = [prompt.requires_grad_(True) for layer in layers for prompt in layer.prompts]
        self.modules = modules
        self.optimizers = {
            "alphas": torch.optim.Adam(alphas, lr=3.5e-3, betas=(0.5, 0.999)),
            "prompts": torch.optim.SGD(prompts, lr=3.5e-3, momentum=0.9, weight_decay=5e-4),
        }
        self.input_ids = torch.as_tensor(input_ids, dtype=torch.long, device=device)
        ends = end_positions(input_ids, sizes.text)
        self.ends = torch.as_tensor(np.asarray(ends), dtype=torch.long, device=device)
        self.train_batch, self.val_batch = (_to_torch(batch, device) for batch in batches)

    def step(self) -> float:
        """One alternating step; the loss of its second half, so that it is awaited."""
        self._half_step("alphas", *self.val_batch)
        return self._half_step("prompts", *self.train_batch)

    def _half_step(self, group: str, images: torch.Tensor, labels: torch.Tensor) -> float:
        with self.precision:
            image = functional.normalize(self.image(images), dim=-1)
            text = functional.normalize(self.text(self.input_ids, self.ends), dim=-1)
            loss = functional.cross_entropy(100.0 * image @ text.T, labels)
        self.modules.zero_grad()
        loss.backward()
        self.optimizers[group].step()
        return loss.item()


def _to_torch(batch: Any, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (B, H, W, 3) and labels as PyTorch wants them."""
    images, labels = (np.array(part) for part in batch)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()  # (B, 3, H, W)
    return pixels.to(device), torch.from_numpy(labels).long().to(device)
