"""tools/export_onnx.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import load_checkpoint

from mmbeitv2.apis import VisualTokenizer
from mmbeitv2.inference import exporting
from mmbeitv2.inference.channels import normalization_of
from mmbeitv2.inference.config import read_config
from mmbeitv2.inference.loading import load_model
from mmbeitv2.registry import MODELS as OWN
from tests.conftest import classification_config, refused, run_tool, tiny_tokenizer, tiny_vit
from tests.test_backbones.test_timm_vit import settings as timm_vit

SEGMENTOR = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[120.0, 110, 100], std=[60.0, 50, 40], bgr_to_rgb=True),
    test_cfg=dict(mode='whole'),
)
UPERNET = SEGMENTOR | dict(
    backbone=tiny_vit(
        arch=dict(embed_dims=32, depth=4, num_heads=2),
        out_type='featmap',
        final_norm='none',
        rel_pos_bias='per_layer',
        out_indices=(0, 1, 2, 3),
    ),
    neck=dict(type='Feature2Pyramid', embed_dim=32, rescales=[4, 2, 1, 0.5], norm_cfg=dict(type='SyncBN')),
    decode_head=dict(
        type='mmbeitv2.EfficientUPerHead',
        in_channels=[32] * 2,
        in_index=[1, 3],
        pool_scales=(1, 3),
        channels=8,
        num_classes=5,
        norm_cfg=dict(type='SyncBN'),
    ),
)
EOMT = SEGMENTOR | dict(
    backbone=tiny_vit(type='mmbeitv2.EoMTViT', num_queries=6, query_blocks=1, num_upscales=1, rel_pos_bias='per_layer'),
    decode_head=dict(type='mmbeitv2.EoMTHead', in_channels=32, num_classes=5),
)


def write(folder: Path, text: str) -> tuple[str, str]:
    """A config and a checkpoint of random weights, of which the position parameters are not all zero."""
    config, checkpoint = folder / 'tiny.py', folder / 'tiny.pth'
    config.write_text(text)
    cfg = Config.fromfile(config)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    state = MODELS.build(cfg.model).state_dict()
    state = {name: torch.randn_like(value) if 'position' in name else value for name, value in state.items()}
    torch.save({'state_dict': state}, checkpoint)
    return str(config), str(checkpoint)


def run_onnx(path: Path, images: np.ndarray) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(str(path)).run(None, {'images': images})


@pytest.fixture
def images() -> np.ndarray:
    """(3, 3, 32, 32) float32, RGB in 0..255: more than the exporter's example has."""
    return np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32)).astype(np.float32)


@pytest.mark.parametrize('suffix', ['.onnx', '.pt2'])
def test_codes_of_an_exported_tokenizer_are_those_of_visual_tokenizer(
    suffix: str, tokenizer: tuple[str, str], images: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'out' / f'tokenizer{suffix}'
    run_tool('export_onnx', *tokenizer, str(out))
    assert 'codes (B, 16)' in (report := capsys.readouterr().out)
    assert '128 of 128 codes are equal' in report
    if suffix == '.onnx':
        (codes,) = run_onnx(out, images)
    else:
        (codes,) = torch.export.load(out).module()(torch.from_numpy(images))
    expected = VisualTokenizer(*tokenizer, device='cpu')(torch.from_numpy(images).byte()).flatten(1)
    np.testing.assert_array_equal(codes, expected)
    assert [path.name for path in out.parent.iterdir()] == [out.name]


@pytest.mark.parametrize(('part', 'size'), [('model', (32, 32)), ('backbone', (24, 40))])
def test_outputs_of_an_exported_classifier_are_the_models_also_at_another_size(
    part: str, size: tuple[int, int], image_folder: Path, tmp_path: Path
) -> None:
    config, checkpoint = write(tmp_path, Path(classification_config(tmp_path, image_folder)).read_text())
    options = ['--part', part, '--img-size', *map(str, size), '--images', str(image_folder)]
    run_tool('export_onnx', config, checkpoint, str(tmp_path / 'a.onnx'), *options)
    cfg = Config.fromfile(config)
    model = MODELS.build(cfg.model | dict(data_preprocessor=cfg.data_preprocessor)).eval()
    load_checkpoint(model, checkpoint)
    images = np.random.default_rng(0).integers(0, 256, (1, 3, *size)).astype(np.float32)
    loaded = torch.from_numpy(images).byte().flip(1)  # BGR: to_rgb is not set
    inputs = model.data_preprocessor(dict(inputs=loaded))['inputs']
    with torch.no_grad():
        expected = model(inputs, mode='tensor') if part == 'model' else model.backbone(inputs)[0]
    (found,) = run_onnx(tmp_path / 'a.onnx', images)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    exported = onnx.load(str(tmp_path / 'a.onnx'))
    # Positions are constants: nothing is looked up or resized when it runs.
    assert not {node.op_type for node in exported.graph.node} & {'Resize', 'GatherND', 'ScatterND'}


@pytest.mark.parametrize('config', [UPERNET, EOMT], ids=['UperNet', 'EoMT'])
def test_logits_of_an_exported_segmentor_have_the_size_of_the_image(
    config: dict, tmp_path: Path, images: np.ndarray
) -> None:
    segmentor = write(tmp_path, f'default_scope = "mmseg"\nmodel = {config!r}\n')
    run_tool('export_onnx', *segmentor, str(tmp_path / 'a.onnx'))
    (logits,) = run_onnx(tmp_path / 'a.onnx', images)
    init_default_scope('mmseg')
    model = MODELS.build(config).eval()
    load_checkpoint(model, segmentor[1])
    batch = dict(inputs=[torch.from_numpy(image).flip(0) for image in images])  # BGR, as mmseg loads them
    with torch.no_grad():
        expected = model.encode_decode(model.data_preprocessor(batch)['inputs'], [dict(img_shape=(32, 32))])
    assert logits.shape == (3, 5, 32, 32)
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def kinds_with_free_sides() -> list:
    backbone = tiny_vit(rel_pos_bias='shared', use_abs_pos_emb=True, out_type='featmap', out_indices=(0, 1))
    head = dict(type='LinearClsHead', num_classes=5, in_channels=32)
    classifier = dict(type='ImageClassifier', backbone=tiny_vit(rel_pos_bias='per_layer'), head=head)
    return [
        pytest.param('mmpretrain', classifier, '.onnx', (), id='classifier'),
        pytest.param('mmpretrain', backbone, '.onnx', ('--half',), id='backbone, half'),
        pytest.param('mmpretrain', tiny_tokenizer(), '.onnx', (), id='tokenizer'),
        pytest.param(
            'mmpretrain', timm_vit('vit_small_patch16_dinov3'), '.onnx', ('--half',), id='rotary positions, half'
        ),
        pytest.param('mmpretrain', timm_vit('vit_small_patch14_reg4_dinov2'), '.pt2', (), id='registers'),
        pytest.param('mmseg', UPERNET, '.onnx', (), id='UperNet'),
        pytest.param('mmseg', UPERNET, '.pt2', (), id='UperNet by torch.export'),
        pytest.param('mmseg', EOMT, '.onnx', (), id='EoMT'),
    ]


@pytest.mark.parametrize(('scope', 'config', 'suffix', 'options'), kinds_with_free_sides())
def test_height_and_width_are_free(
    scope: str, config: dict, suffix: str, options: tuple, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At sizes that the tool has not seen, and at the model's own, against the model in torch."""
    files = write(tmp_path, f"default_scope = '{scope}'\nmodel = {config!r}\n")
    out = tmp_path / f'a{suffix}'
    run_tool('export_onnx', *files, str(out), '--dynamic', *options)
    step = 16 if config is UPERNET else 8
    report = capsys.readouterr().out
    assert f'H and W multiples of {step}' in report
    assert report.count('compared on 8 images') == 3
    part = 'tokenizer' if 'quantizer' in config else 'model'
    model = load_model(files[0], files[1], part)
    _, outputs = exporting.outputs_of(model)
    mean, std, is_rgb = torch.tensor(127.5), torch.tensor(127.5), True
    if part == 'model':
        mean, std, is_rgb = normalization_of(read_config(files[0]))
    program = torch.export.load(out).module() if suffix == '.pt2' else None
    for size in ((32, 32), (32, 80), (96, 64)):
        images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 3, *size)).astype(np.float32))
        with torch.no_grad():
            expected = outputs(((images if is_rgb else images.flip(1)) - mean) / std)
        found = program(images) if program else map(torch.from_numpy, run_onnx(out, images.numpy()))
        for one, other in zip(found, expected, strict=True):
            tolerance = (1e-2 if options else 1e-4) * max(1.0, float(other.abs().max()))
            torch.testing.assert_close(one, other, atol=tolerance, rtol=0)


def test_a_tokenizer_that_splits_its_weights_is_exported(tmp_path: Path, images: np.ndarray) -> None:
    class SplittingTokenizer(torch.nn.Module):
        num_codes, in_channels, patch_size, grid_size = 4, 3, 8, (4, 4)

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(8, 3))

        def tokenize(self, x: torch.Tensor) -> torch.Tensor:
            first, second = self.weight.split(4)
            means = torch.nn.functional.avg_pool2d(x, 8).flatten(2).transpose(1, 2)  # (B, N, 3)
            return (means @ first.T - means @ second.T).argmax(dim=-1)

    OWN.register_module(module=SplittingTokenizer, force=True)
    (tmp_path / 'own.py').write_text("model = dict(type='mmbeitv2.SplittingTokenizer')\n")
    torch.save(dict(state_dict=(model := SplittingTokenizer()).state_dict()), tmp_path / 'own.pth')
    run_tool('export_onnx', *(str(tmp_path / name) for name in ('own.py', 'own.pth', 'a.pt2')), '--img-size', '32')
    inputs = torch.from_numpy(images)
    (codes,) = torch.export.load(tmp_path / 'a.pt2').module()(inputs)
    assert torch.equal(codes, model.tokenize(inputs / 127.5 - 1))


def test_a_file_that_gives_something_else_is_not_left(
    tokenizer: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'out' / 'a.pt2'
    out.parent.mkdir()
    out.write_text('of before')
    run = exporting._run
    monkeypatch.setattr(exporting, '_run', lambda *args: [(codes + 1) % 16 for codes in run(*args)])
    sentence = refused(capsys, 'export_onnx', *tokenizer, str(out))
    assert 'different outputs: 0 of 128 codes are equal' in sentence
    assert sentence.endswith('Nothing was written.')
    assert [path.read_text() for path in out.parent.iterdir()] == ['of before']


def test_bad_input(tokenizer: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / 'a.onnx')
    assert "'a.pth' must end in .onnx" in refused(capsys, 'export_onnx', *tokenizer, 'a.pth')
    assert 'multiples of the patch size, 8' in refused(capsys, 'export_onnx', *tokenizer, out, '--img-size', '33')
    assert 'cannot be in half precision' in refused(capsys, 'export_onnx', *tokenizer, 'a.pt2', '--half')
    assert not Path(out).exists()
