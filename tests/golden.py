"""Numbers that the authors' own modules gave, in ``golden.json`` beside this file.

``python -m tests.golden PATH_OF_BEIT2`` writes them anew from a clone of microsoft/unilm, folder beit2. Weights and
images are formulas, so that no generator of random numbers matters. The file holds numbers and names of parameters; no
code of the authors is part of this package.
"""

from __future__ import annotations

import importlib
import json
import sys
import zlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

FILE = Path(__file__).with_suffix('.json')
SIZES = dict(
    img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2, qkv_bias=True,
    norm_layer=partial(nn.LayerNorm, eps=1e-6),
)  # fmt: skip
TOKENIZER = dict(use_abs_pos_emb=True, use_mean_pooling=True, init_values=0.0, num_classes=0, init_scale=0.001)
NUM_CODES, SOURCE_GRID, TARGET_GRID = 16, (4, 4), (7, 7)
RESIZED = 'blocks.0.attn.relative_position_bias_table'


def values(name: str, shape: Sequence[int], scale: float = 0.3) -> Tensor:
    """Numbers between -scale and scale that look random, float32, from a name and a shape."""
    count = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    phase = zlib.crc32(name.encode()) % 1000
    return (scale * torch.sin(phase + 1.7 * count + 0.37 * count.sqrt() * phase)).float().view(*shape)


def weights(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """A value for every parameter; those of the codebook are of unit length, as in a trained tokenizer."""
    state = {name: values(name, shape) for name, shape in shapes.items()}
    return {
        name: nn.functional.normalize(value, dim=-1) if 'quantize' in name else value for name, value in state.items()
    }


def images(step: int = 0) -> Tensor:
    return values(f'images {step}', (2, 3, 32, 32), scale=1.0)


def mask() -> Tensor:
    """(2, 16) bool, six patches of each image."""
    return torch.stack([values(f'mask{i}', (16,)).argsort() < 6 for i in range(2)])


def import_release(source: str, name: str) -> ModuleType:
    """A module of the authors. Two of its imports, which it does not use here, are left empty."""
    for missing in ('utils', 'vqkd_teacher'):
        empty = ModuleType(missing)
        empty.clip = empty.get_dino_vit_base = None  # type: ignore[attr-defined]
        sys.modules.setdefault(missing, empty)
    if source not in sys.path:
        sys.path.insert(0, source)
    return importlib.import_module(name)


def filled(model: nn.Module) -> dict[str, list[int]]:
    """Fills a model of the authors; the shapes of what was filled, by name."""
    unused = ('relative_position_index', 'cluster_size', 'embed_avg', 'initted')
    shapes = {name: list(value.shape) for name, value in model.state_dict().items() if not name.endswith(unused)}
    model.load_state_dict(weights(shapes), strict=False)
    return shapes


def numbers(tensor: Tensor) -> list:
    return [float(f'{value:.7g}') for value in tensor.detach().flatten().tolist()]


def of_backbone(source: str, bias: str) -> dict:
    model = import_release(source, 'modeling_finetune').VisionTransformer(
        **SIZES, num_classes=5, use_abs_pos_emb=bias == 'shared', use_rel_pos_bias=bias == 'per_layer',
        use_shared_rel_pos_bias=bias == 'shared', init_values=0.1, use_mean_pooling=True, init_scale=0.001,
    )  # fmt: skip
    shapes = filled(model)
    return dict(shapes=shapes, logits=numbers(model.eval()(images())))


def of_pretraining(source: str, bias: str, shared_head: bool) -> dict:
    model = import_release(source, 'modeling_pretrain').VisionTransformerForMaskedImageModelingCLS(
        **SIZES, vocab_size=NUM_CODES, use_abs_pos_emb=False, use_shared_rel_pos_bias=bias == 'shared',
        use_rel_pos_bias=bias == 'per_layer', init_values=0.1, early_layers=1, head_layers=2,
        shared_lm_head=shared_head,
    )  # fmt: skip
    shapes = filled(model)
    logits = model.train()(images(), mask())
    codes = torch.arange(12) % NUM_CODES
    sum(nn.functional.cross_entropy(each, codes) for each in logits).backward()
    gradients = {name: numbers(model.get_parameter(name).grad) for name in ('cls_token', 'patch_embed.proj.bias')}
    return dict(shapes=shapes, logits=[numbers(each) for each in logits], gradients=gradients)


def of_tokenizer(source: str) -> dict:
    decoder = SIZES | TOKENIZER | dict(img_size=4, patch_size=1, in_chans=8)
    model = import_release(source, 'modeling_vqkd').VQKD(
        SIZES | TOKENIZER, decoder, NUM_CODES, 8, quantize_kmeans_init=False, teacher_model_type='none',
        decoder_out_dim=24,
    )  # fmt: skip
    shapes = filled(model)
    steps = []
    for step in range(3):
        quantized, codes, commitment = model.train().encode(images(step))
        steps.append(
            dict(
                codes=codes.flatten().tolist(),
                commitment=numbers(commitment),
                decoded=numbers(model.decode(quantized)[:, ::5]),
                codebook=numbers(model.quantize.embedding.weight),
            )
        )
    return dict(shapes=shapes, steps=steps)


def resized(source: str) -> dict:
    """By the lines of the authors' script, which need the ``interp2d`` that SciPy removed; as SciPy advises, a
    RectBivariateSpline takes its place."""
    from types import SimpleNamespace

    from scipy.interpolate import RectBivariateSpline

    text = Path(source, 'run_class_finetuning.py').read_text()
    start = text.index('            if "relative_position_bias_table" in key')
    lines = text[start : text.index('        # interpolate position embedding', start)]

    def interp2d(x: list, y: list, z: object, kind: str) -> object:
        spline = RectBivariateSpline(y, x, z)
        return lambda dx, dy: spline(dy, dx)

    (height, width), (to_height, to_width) = SOURCE_GRID, TARGET_GRID
    table = values(RESIZED, ((2 * height - 1) * (2 * width - 1) + 3, 2))
    target = torch.zeros((2 * to_height - 1) * (2 * to_width - 1) + 3, 2)
    model = SimpleNamespace(state_dict=lambda: {RESIZED: target}, patch_embed=SimpleNamespace(patch_shape=TARGET_GRID))
    names = dict(
        key=RESIZED, model=model, checkpoint_model={RESIZED: table}, all_keys=[RESIZED], torch=torch,
        np=importlib.import_module('numpy'), interpolate=SimpleNamespace(interp2d=interp2d),
    )  # fmt: skip
    exec('for key in all_keys:\n' + lines, names)
    return dict(table=numbers(names['checkpoint_model'][RESIZED]))


def compute(source: str) -> dict:
    """All numbers, from the authors' modules in the folder ``source``."""
    return dict(
        backbone={bias: of_backbone(source, bias) for bias in ('shared', 'per_layer')},
        pretraining={
            f'{bias} {shared}': of_pretraining(source, bias, shared)
            for bias, shared in (('shared', True), ('shared', False), ('per_layer', True))
        },
        tokenizer=of_tokenizer(source),
        resized=resized(source),
    )


if __name__ == '__main__':
    FILE.write_text(json.dumps(compute(sys.argv[1])) + '\n')
