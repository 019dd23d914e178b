from __future__ import annotations

import argparse
import copy
import json
import re
from pathlib import Path

import pytest
import torch
from mmbeitv2_tools.benchmarks import pipelines, steps, storage
from mmbeitv2_tools.benchmarks.peers import OneHotQuantizer, WrittenOutAttention, write_attention_out
from mmengine.registry import MODELS
from mmseg.models import BEiT, UPerHead

from mmbeitv2.backbones import BEiTv2ViT
from mmbeitv2.segmentation.pyramid_conv_uper_head import PyramidConvUPerHead
from mmbeitv2.tokenizers import NormEMAVectorQuantizer
from tests.conftest import ROOT, refused, run_tool, tiny_vit


def test_the_peer_quantizer_does_the_same_step() -> None:
    ours = NormEMAVectorQuantizer(num_codes=12, code_dim=4, kmeans_init=False)
    peer = copy.deepcopy(ours)
    peer.__class__ = OneHotQuantizer
    for _ in range(3):
        z = torch.randn(3, 4, 2, 5)
        for a, b in zip(ours(z), peer(z), strict=True):
            torch.testing.assert_close(a, b)
        torch.testing.assert_close(ours.embedding.weight, peer.embedding.weight)
        torch.testing.assert_close(ours.cluster_size, peer.cluster_size)


def test_the_peer_attention_does_the_same() -> None:
    vit = MODELS.build(tiny_vit()).eval()
    images = torch.randn(2, 3, 32, 32)
    (expected,) = vit(images)
    write_attention_out(vit)
    assert isinstance(vit.blocks[0].attn, WrittenOutAttention)
    torch.testing.assert_close(vit(images)[0], expected)


def seconds(calls: dict, repeats: int) -> dict[str, list[float]]:
    """Takes the place of the clock: ours takes 2 s, the peer 3, and one round of each is far off."""
    for call in calls.values():
        call()
    return {name: [{'ours': 2.0, 'peer': 3.0}[name]] * repeats + [100.0] for name in calls}


def test_both_pipelines_are_measured(
    tmp_path: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(pipelines, 'alternate', seconds)
    out = tmp_path / 'new' / 'data.json'
    run_tool('benchmark', 'data', '--peer', 'mmpretrain', '--images', str(image_folder), '--json', str(out))
    result = json.loads(out.read_text())
    assert (result['ours'], result['peer'], result['ratio']) == (16 / 2, pytest.approx(16 / 3), 1.5)
    assert re.search(r'ratio +1\.500', capsys.readouterr().out)
    assert result['ours_ms_LoadImage'] > 0
    assert result['peer_ms_LoadImageFromFile'] > 0


def test_shards_and_folder_are_measured(image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, 'alternate', seconds)
    out = tmp_path / 'shards.json'
    run_tool('benchmark', 'shards', '--images', str(image_folder), '--json', str(out))
    result = json.loads(out.read_text())
    assert (result['ours'], result['peer'], result['ratio'], result['read_ratio']) == (
        8,
        pytest.approx(16 / 3),
        1.5,
        1.5,
    )


def test_a_step_of_both_quantizers_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(steps, 'alternate', seconds)
    monkeypatch.setattr(steps, 'peak_of_process', lambda name, is_ours, args: 1 << 30 if is_ours else 3 << 30)
    run_tool('benchmark', 'quantizer', '--batch-size', '1', '--device', 'cpu')
    output = capsys.readouterr().out
    for key, value in (('ours', 0.5), ('peer', 1 / 3), ('ratio', 1.5), ('memory_ratio', 1 / 3)):
        assert float(re.search(rf'^{key} +(\S+)$', output, re.M)[1]) == pytest.approx(value, abs=1e-3)


def test_segmentation_is_measured_in_training_and_in_both_ways_of_inference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, 'alternate', seconds)
    monkeypatch.setattr(steps, 'peak_of_process', lambda name, is_ours, args: 1 << 30 if is_ours else 3 << 30)
    out = tmp_path / 'segment.json'
    run_tool('benchmark', 'segment', '--tiny', '--batch-size', '2', '--device', 'cpu', '--json', str(out))
    result = json.loads(out.read_text())
    assert (result['ours'], result['peer']) == (2 / 2, pytest.approx(2 / 3))
    for way in ('slide_', 'whole_'):
        assert (result[f'{way}ours'], result[f'{way}peer']) == (1 / 2, pytest.approx(1 / 3))
    for way in ('', 'slide_', 'whole_'):
        assert (result[f'{way}ratio'], result[f'{way}memory_ratio']) == (1.5, pytest.approx(1 / 3))


def test_segmentation_is_compared_with_the_backbone_and_the_head_of_mmseg() -> None:
    args = argparse.Namespace(tiny=True, with_cp=False)
    ours, peer = (steps.build_segmentor(is_ours, args) for is_ours in (True, False))
    assert (type(ours.backbone), type(peer.backbone)) == (BEiTv2ViT, BEiT)
    assert (type(ours.decode_head), type(peer.decode_head)) == (PyramidConvUPerHead, UPerHead)


def test_worker_processes_load_every_image(image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelines, 'alternate', seconds)
    args = argparse.Namespace(config=ROOT / 'configs/beitv2_vit-b_1600e.py', cfg_options=None, images=image_folder)
    result = pipelines.measure_data(argparse.Namespace(**vars(args), repeats=3, num_workers=2))
    assert (result['device'], result['ours'], result['ratio']) == ('2 worker processes', 2 * 16 / 2, 1.5)


def test_bad_input_to_benchmark(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / 'file').touch()
    for path, message in (('file/x.json', 'is not a folder'), ('photo.jpg', 'must end in .json')):
        assert message in refused(capsys, 'benchmark', 'data', '--json', str(tmp_path / path))
    assert "nowhere' not found" in refused(capsys, 'benchmark', 'data', '--images', 'nowhere')
    for option in ('--repeats=0', '--batch-size=0', '--batch-size=-3', '--batch-size=many'):
        assert 'must be a whole number of at least 1' in refused(capsys, 'benchmark', 'data', option, code=2)
