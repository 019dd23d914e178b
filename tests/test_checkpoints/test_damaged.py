"""Whatever is wrong with a checkpoint, what comes out is a sentence or a sound model."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from mmbeitv2.checkpoints import PretrainedBEiTv2, read_checkpoint, require_fit
from mmbeitv2.checkpoints.formats import from_ours
from mmbeitv2.errors import InputError
from mmbeitv2.registry import MODELS
from tests.conftest import tiny_vit

# What may stand in the place of a weight.
WEIGHTS: list[Callable[[Tensor], object]] = [
    *(lambda value, new=new: new for new in (None, 'text', [], {}, 1.5)),
    *(lambda value, dtype=dtype: value.to(dtype) for dtype in (torch.long, torch.float8_e4m3fn, torch.complex64)),
    lambda value: value.new_zeros(()),
    lambda value: value[..., :-1],
    lambda value: value.to_sparse(),
    lambda value: value.to('meta'),
    lambda value: value * float('nan'),
    lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
]


def change(rng: random.Random, state: dict) -> object:
    """Renames, removes or replaces a weight, or all of them."""
    key = rng.choice(sorted(state))
    new = rng.choice(['', 5, None, key + '.x', rng.choice(sorted(state)), 'blocks.x.y'])
    others = {other: value for other, value in state.items() if other != key}
    replaced = state | {key: rng.choice(WEIGHTS)(state[key])}
    return rng.choice([others, others | {new: state[key]}, replaced, replaced, list(state.values()), 'text'])


def flip_bits(rng: random.Random, whole: bytes) -> bytes:
    damaged = bytearray(whole)
    for _ in range(rng.choice([1, 3, 50])):
        # Half of them in the pickle and the headers, which are at the start and at the end.
        place = rng.randrange(len(whole)) if rng.random() < 0.5 else rng.randrange(4000) - 2000
        damaged[place] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def test_a_damaged_checkpoint_ends_in_a_sentence(tmp_path: Path) -> None:
    rng = random.Random(0)
    model = MODELS.build(tiny_vit(arch=dict(embed_dims=16, depth=1, num_heads=2), use_mask_token=True))
    state = dict(model.state_dict())
    path = tmp_path / 'file.pth'
    torch.save(state, path)
    whole = path.read_bytes()
    sentences = set()
    for i in range(240):
        if i % 3 == 0:
            torch.save(change(rng, state), path)
        else:
            path.write_bytes(flip_bits(rng, whole) if i % 3 == 1 else whole[: rng.randrange(len(whole))])
        try:
            file = read_checkpoint(str(path))
            loaded = PretrainedBEiTv2(str(path)).state_for(model, file)
            assert all(value.float().isfinite().all() and value.is_floating_point() for value in loaded.values())
            for to in ('official', 'timm', 'mmpretrain', 'hf'):
                from_ours(file.ours, to)
            require_fit(model, str(path))
        except InputError as error:
            sentences.add(str(error))
    assert len(sentences) > 15
    assert all('file.pth' in sentence and '\n' not in sentence for sentence in sentences)
