from __future__ import annotations

import copy
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

from mmbeitv2.models import NormEMAVectorQuantizer
from tests.conftest import MASKED, ROOT, last_line, run, tiny_pretraining, tiny_vit


@pytest.fixture(scope='module')
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location('benchmark', ROOT / 'tools' / 'benchmark.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_peer_quantizer_does_the_same_step(benchmark: ModuleType) -> None:
    ours = NormEMAVectorQuantizer(num_codes=12, code_dim=4, kmeans_init=False)
    peer = copy.deepcopy(ours)
    peer.__class__ = benchmark.OneHotQuantizer
    for _ in range(3):
        z = torch.randn(3, 4, 2, 5)
        for a, b in zip(ours(z), peer(z), strict=True):
            torch.testing.assert_close(a, b)
        torch.testing.assert_close(ours.embedding.weight, peer.embedding.weight)
        torch.testing.assert_close(ours.cluster_size, peer.cluster_size)


def test_the_peer_attention_does_the_same(benchmark: ModuleType) -> None:
    vit = MODELS.build(tiny_vit()).eval()
    images = torch.randn(2, 3, 32, 32)
    (expected,) = vit(images)
    benchmark.write_attention_out(vit)
    assert isinstance(vit.blocks[0].attn, benchmark.WrittenOutAttention)
    torch.testing.assert_close(vit(images)[0], expected)


def test_both_pipelines_are_measured(tmp_path: Path) -> None:
    out = tmp_path / 'data.json'
    command = [sys.executable, 'tools/benchmark.py', 'data', '--peer', 'mmpretrain', '--repeats', '1']
    run(*command, '--json', str(out))
    result = json.loads(out.read_text())
    assert result['ratio'] == pytest.approx(result['ours'] / result['peer'])
    assert result['ours'] > 0
    assert 'must be at least 1' in last_line(run(*command[:3], '--repeats', '0', ok=False))


def test_features_of_a_pretrained_backbone_are_probed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split in ('bank', 'query'):
        for name, value in (('dark', 50), ('bright', 190)):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for i in range(10):
                cv2.imwrite(str(folder / f'{i}.png'), np.uint8(value + rng.integers(-40, 40, (36, 36, 3))))
    config = tmp_path / 'pretrain.py'
    config.write_text(f'model = {tiny_pretraining()!r}\ntrain_dataloader = dict(dataset=dict(pipeline={MASKED!r}))\n')
    torch.save(MODELS.build(tiny_pretraining()).state_dict(), tmp_path / 'model.pth')
    command = [sys.executable, 'tools/probe_features.py', str(config), str(tmp_path / 'model.pth')]
    command += ['--bank', str(tmp_path / 'bank'), '--num-workers', '0']
    run(*command, '--query', str(tmp_path / 'query'), '--json', str(tmp_path / 'probe.json'))
    assert json.loads((tmp_path / 'probe.json').read_text()) == {'knn_top1': 100, 'linear_top1': 100}
    (tmp_path / 'query' / 'dark').rename(tmp_path / 'query' / 'other')
    message = run(*command, '--query', str(tmp_path / 'query'), ok=False)
    assert 'must have the same class folders' in last_line(message)
