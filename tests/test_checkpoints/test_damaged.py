"""Whatever is wrong with a checkpoint, what comes out is a sentence or a sound model."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from mmbeitv2.checkpoints import PretrainedBEiTv2, read_checkpoint, require_fit
from mmbeitv2.checkpoints.formats import from_ours
from mmbeitv2.checkpoints.hugging_face import hf_config
from mmbeitv2.errors import InputError
from mmbeitv2.registry import MODELS
from tests.conftest import tiny_vit

# What may stand in the place of a weight, and in the place of a file's content.
WEIGHTS: list[Callable[[Tensor], object]] = [
    *(lambda value, new=new: new for new in (None, 0, 'text', b'bytes', [], {}, (1, 2), 1.5, torch.Size([2]))),
    *(lambda value, dtype=dtype: value.to(dtype) for dtype in (torch.long, torch.bool, torch.double, torch.bfloat16)),
    *(lambda value, dtype=dtype: value.to(dtype) for dtype in (torch.float8_e4m3fn, torch.complex64)),
    lambda value: value.new_zeros(()),
    lambda value: value.new_zeros((0,)),
    lambda value: value.flatten(),
    lambda value: value[None],
    lambda value: value[..., :-1],
    lambda value: value.to_sparse(),
    lambda value: value.to('meta'),
    lambda value: value * float('nan'),
    lambda value: torch.zeros(1).expand(value.shape),
    lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
]
CONTENTS: list[Callable[[dict], object]] = [
    lambda state: {'module': {'model': {'state_dict': {'module': state}}}},
    lambda state: {'state_dict': None, 'model': 'text'},
    lambda state: list(state.values()),
    lambda state: dict(enumerate(state.values())),
    lambda state: 'text',
]


def change(rng: random.Random, state: dict) -> object:
    """Changes the content, or renames, removes or replaces a weight."""
    key = rng.choice(sorted(state))
    new = rng.choice(['', 'x', 5, None, key + '.x', key.upper(), rng.choice(sorted(state)), (1, 2), 'blocks.x.y'])
    others = {other: value for other, value in state.items() if other != key}
    return rng.choice([
        lambda: rng.choice(CONTENTS)(state),
        lambda: others,
        lambda: others | {new: state[key]},
        lambda: state | {key: rng.choice(WEIGHTS)(state[key])},
        lambda: state | {key: rng.choice(WEIGHTS)(state[key])},
    ])()  # fmt: skip


def flip_bits(rng: random.Random, whole: bytes) -> bytes:
    damaged = bytearray(whole)
    for _ in range(rng.choice([1, 3, 50])):
        # Half of them in the pickle and the headers, which are at the start and at the end.
        place = rng.randrange(len(whole)) if rng.random() < 0.5 else rng.randrange(4000) - 2000
        damaged[place] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def use(path: str, model: torch.nn.Module) -> None:
    """All that is done with a file."""
    file = read_checkpoint(path)
    assert file.source
    state = PretrainedBEiTv2(path).state_for(model, file)
    assert all(value.float().isfinite().all() and value.is_floating_point() for value in state.values())
    for to in ('official', 'timm', 'mmpretrain', 'hf'):
        from_ours(file.ours, to)
    hf_config(file.ours)
    require_fit(model, path)


def test_a_damaged_checkpoint_ends_in_a_sentence(tmp_path: Path) -> None:
    rng = random.Random(0)
    model = MODELS.build(tiny_vit(arch=dict(embed_dims=16, depth=1, num_heads=2), use_mask_token=True))
    state = dict(model.state_dict())
    path = tmp_path / 'file.pth'
    torch.save(state, path)
    whole = path.read_bytes()
    sentences = set()
    for i in range(300):
        if i % 3 == 0:
            torch.save(change(rng, state), path)
        else:
            path.write_bytes(flip_bits(rng, whole) if i % 3 == 1 else whole[: rng.randrange(len(whole))])
        try:
            use(str(path), model)
        except InputError as error:
            sentence = str(error)
            assert 'file.pth' in sentence
            assert 'weights_only' not in sentence
            assert '\n' not in sentence
            sentences.add(sentence.partition(' ')[2])
    assert len(sentences) > 20
