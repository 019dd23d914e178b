"""Whatever is wrong with a checkpoint, what comes out is a sentence or a sound model."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmbeitv2.checkpoints import PretrainedBEiTv2, read_checkpoint, require_fit
from mmbeitv2.checkpoints.conversion import hf_config
from mmbeitv2.checkpoints.formats import from_ours
from mmbeitv2.errors import InputError
from mmbeitv2.registry import MODELS
from tests.conftest import tiny_vit

Mutation = Callable[[random.Random, dict], object]


def replaced(change: Callable[[Tensor], object]) -> Mutation:
    """Changes one weight."""

    def mutate(rng: random.Random, state: dict) -> object:
        key = rng.choice(sorted(state))
        return state | {key: change(state[key])}

    return mutate


def renamed(rng: random.Random, state: dict) -> object:
    old = rng.choice(sorted(state))
    new = rng.choice(['', 'x', 5, None, old + '.x', old.upper(), rng.choice(sorted(state)), (1, 2), 'blocks.x.y'])
    return {new if key == old else key: value for key, value in state.items()}


VALUES = (None, 0, 'text', b'bytes', [], {}, (1, 2), 1.5, torch.float32, torch.Size([2]))
OF_THE_CONTENT: list[Mutation] = [
    renamed,
    renamed,
    lambda rng, state: {key: value for key, value in state.items() if key != rng.choice(sorted(state))},
    lambda rng, state: state | {rng.choice(sorted(state)): rng.choice(VALUES)},
    lambda rng, state: {'state_dict': rng.choice(VALUES), 'model': rng.choice(VALUES)},
    lambda rng, state: {'module': {'model': {'state_dict': {'module': state}}}},
    lambda rng, state: rng.choice(VALUES),
    lambda rng, state: list(state.values()),
    lambda rng, state: dict(enumerate(state.values())),
    replaced(lambda value: value.new_zeros(())),
    replaced(lambda value: value.new_zeros((0,))),
    replaced(lambda value: value.flatten()),
    replaced(lambda value: value[None]),
    replaced(lambda value: value[..., :-1]),
    replaced(lambda value: value.long()),
    replaced(lambda value: value.bool()),
    replaced(lambda value: value.double()),
    replaced(lambda value: value.bfloat16()),
    replaced(lambda value: value.to(torch.float8_e4m3fn)),
    replaced(lambda value: value.to(torch.complex64)),
    replaced(lambda value: value.to_sparse()),
    replaced(lambda value: value.to('meta')),
    replaced(lambda value: value * float('nan')),
    replaced(lambda value: torch.zeros(1).expand(value.shape)),
    replaced(lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8)),
]


def flip_bits(rng: random.Random, whole: bytes) -> bytes:
    damaged = bytearray(whole)
    for _ in range(rng.choice([1, 3, 50])):
        # Half of them in the pickle and the headers, which are at the start and at the end.
        place = rng.randrange(len(whole)) if rng.random() < 0.5 else rng.randrange(4000) - 2000
        damaged[place] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def edit_archive(rng: random.Random, path: Path) -> None:
    """Drops, renames, empties or repeats an entry of the zip archive."""
    with zipfile.ZipFile(path) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    chosen = rng.randrange(len(entries))
    name, data = entries[chosen]
    kind = rng.choice(['drop', 'rename', 'empty', 'half', 'swap', 'repeat'])
    if kind == 'drop':
        del entries[chosen]
    elif kind == 'swap':
        entries[chosen] = (name, rng.choice(entries)[1])
    elif kind == 'repeat':
        entries.append((f'{name}x', data))
    else:
        new = {'rename': (f'{name}x', data), 'empty': (name, b''), 'half': (name, data[: len(data) // 2])}
        entries[chosen] = new[kind]
    with zipfile.ZipFile(path, 'w') as archive:
        for entry in entries:
            archive.writestr(*entry)


def use(path: str, model: torch.nn.Module) -> None:
    """All that is done with a file."""
    file = read_checkpoint(path)
    assert file.source
    state = PretrainedBEiTv2(path).state_for(model, file)
    assert all(value.isfinite().all() and value.is_floating_point() for value in state.values())
    for to in ('official', 'timm', 'mmpretrain', 'hf'):
        from_ours(file.ours, to)
    hf_config(file.ours)
    require_fit(model, path)


@pytest.mark.parametrize('wrapper', ['model', None])
def test_a_damaged_checkpoint_ends_in_a_sentence(tmp_path: Path, wrapper: str | None) -> None:
    rng = random.Random(0)
    model = MODELS.build(tiny_vit(arch=dict(embed_dims=16, depth=1, num_heads=2), use_mask_token=True))
    state = model.state_dict()
    path = tmp_path / 'file.pth'

    def write(content: object) -> None:
        torch.save({wrapper: content} if wrapper else content, path)

    write(dict(state))
    whole = path.read_bytes()
    sentences = set()
    for i in range(400):
        kind = i % 4
        if kind == 0:
            write(rng.choice(OF_THE_CONTENT)(rng, dict(state)))
        else:
            path.write_bytes(
                flip_bits(rng, whole) if kind == 1 else whole[: rng.randrange(len(whole))] if kind == 2 else whole
            )
            if kind == 3:
                edit_archive(rng, path)
        try:
            use(str(path), model)
        except InputError as error:
            sentence = str(error)
            assert 'file.pth' in sentence
            assert 'weights_only' not in sentence
            assert '\n' not in sentence
            sentences.add(sentence.partition(' ')[2])
    assert len(sentences) > 20
