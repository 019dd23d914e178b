"""TimmViT in the tools of this package, of mmpretrain and of mmseg."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS
from mmpretrain import FeatureExtractor, ImageClassificationInferencer
from mmseg.apis import MMSegInferencer
from mmseg.models import EncoderDecoder

from mmbeitv2.segmentation.eomt_vit import EoMTTimmViT
from tests.conftest import MASKED, randomize, run_tool, tiny_pretraining, write_model
from tests.test_backbones.test_timm_vit import DINOV3, PRETRAINING, SIGLIP, build, settings
from tests.test_interop.conftest import process_of_its_own
from tests.test_segmentation.test_eomt import NUM_CLASSES, samples

DINOV2 = 'vit_small_patch14_reg4_dinov2'
PIPELINE = "[dict(type='LoadImageFromFile'), dict(type='mmbeitv2.FitImage', scale=32), dict(type='{}')]"
UPERNET = dict(
    type='mmseg.EncoderDecoder',
    data_preprocessor=dict(type='mmseg.SegDataPreProcessor', mean=[120.0] * 3, std=[60.0] * 3, bgr_to_rgb=True),
    backbone=settings(depth=4, out_indices=(0, 1, 2, 3), out_type='featmap', final_norm='none'),
    neck=dict(type='mmseg.Feature2Pyramid', embed_dim=32, rescales=[4, 2, 1, 0.5], norm_cfg=dict(type='BN')),
    decode_head=dict(
        type='mmbeitv2.EfficientUPerHead',
        in_channels=[32] * 4,
        in_index=[0, 1, 2, 3],
        channels=8,
        num_classes=NUM_CLASSES,
    ),
    test_cfg=dict(mode='whole'),
)


@pytest.fixture
def image(image_folder: Path) -> str:
    return str(image_folder / 'cat' / 'nested' / '0.jpg')


@pytest.fixture
def classifier(tmp_path: Path) -> tuple[str, str]:
    """Config and checkpoint."""
    model = dict(
        type='mmpretrain.ImageClassifier',
        data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, to_rgb=True),
        backbone=settings(depth=1, out_type='cls_token'),
        head=dict(type='mmpretrain.LinearClsHead', num_classes=2, in_channels=32),
    )
    pipeline = PIPELINE.format('mmpretrain.PackInputs')
    dataset = f"dict(type='CustomDataset', pipeline={pipeline})"
    more = f"default_scope = 'mmpretrain'\ntest_dataloader = dict(dataset={dataset})\n"
    return write_model(tmp_path, 'classifier', model, more)


def test_a_classifier_in_mmpretrains_inferencers_and_as_onnx(
    classifier: tuple[str, str], image: str, tmp_path: Path
) -> None:
    with process_of_its_own('pytest'), torch.no_grad():
        (result,) = ImageClassificationInferencer(*classifier, device='cpu', classes=['cat', 'dog'])(image)
        (feature,) = FeatureExtractor(*classifier, device='cpu')(image, stage='backbone')[0]
    assert result['pred_class'] in ('cat', 'dog')
    assert feature.shape == (32,)
    run_tool(
        'export_onnx', *classifier, str(tmp_path / 'out.onnx'), '--img-size', '48', '24'
    )  # which compares it with the model


@pytest.mark.parametrize('model', [DINOV3, SIGLIP])
def test_a_segmentor_with_upernet_trains_and_works_in_mmsegs_inferencer(model: str, image: str, tmp_path: Path) -> None:
    segmentor = UPERNET | dict(backbone=UPERNET['backbone'] | dict(model=model))
    pipeline = PIPELINE.format('mmseg.PackSegInputs')
    more = "default_scope = 'mmseg'\nvisualizer = dict(type='SegLocalVisualizer')\n"
    more += f'test_dataloader = dict(dataset=dict(pipeline={pipeline}))\n'
    config, checkpoint = write_model(tmp_path, 'segmentor', segmentor, more)
    with process_of_its_own('pytest'), torch.no_grad():
        inferencer = MMSegInferencer(config, checkpoint, device='cpu', classes=list('abcde'), palette=[[0] * 3] * 5)
        labels = inferencer(image)['predictions']
    assert labels.shape == (40, 48)
    network = MODELS.build(Config.fromfile(config).model)
    losses = network.loss(torch.randn(2, 3, 40, 32), samples(torch.randint(0, NUM_CLASSES, (2, 40, 32))))
    losses['decode.loss_ce'].backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []  # as DDP wants


@pytest.mark.parametrize('model', [DINOV3, DINOV2, SIGLIP])
def test_a_segmentor_with_eomt_trains_and_masks_hide_patches_from_queries(model: str) -> None:
    backbone = settings(model, type='mmbeitv2.EoMTTimmViT', num_queries=6, query_blocks=2, num_upscales=1)
    head = dict(type='mmbeitv2.EoMTHead', in_channels=32, num_classes=NUM_CLASSES, num_points=16)
    segmentor = EncoderDecoder(backbone=backbone, decode_head=head, test_cfg=ConfigDict(mode='whole'))
    losses = segmentor.loss(torch.randn(2, 3, 32, 32), samples(torch.randint(0, NUM_CLASSES, (2, 32, 32))))
    sum(losses.values()).backward()
    assert [name for name, p in segmentor.named_parameters() if p.grad is None] == []
    vit: EoMTTimmViT = randomize(segmentor.backbone).eval()
    seen = torch.randn(1, 3, 48, 32)
    with torch.no_grad():
        (prediction,) = vit(seen)
        assert prediction.masks.shape == (1, 6, 12, 8)
        prefix = 6 + vit.vit.num_prefix_tokens
        tokens, changed = torch.randn(2, 1, prefix + 16, 32)
        changed[:, :-1] = tokens[:, :-1]  # only the last patch differs
        mask = torch.zeros(1, 6, 16, dtype=torch.bool)
        mask[:, 2, -1] = True
        context = vit._embed(torch.randn(1, 3, 32, 32), None)[2]
        outputs = [vit.run_query_block(1, x, context, mask) for x in (tokens, changed)]
        differs = (outputs[0] - outputs[1]).abs().amax(dim=2)[0] > 1e-6
        assert differs.nonzero().flatten().tolist() == [i for i in range(prefix + 16) if i != 2]


def test_queries_leave_the_angles_of_the_patches_as_they_are() -> None:
    plain = build(out_type='featmap')
    vit = MODELS.build(settings(type='mmbeitv2.EoMTTimmViT', num_queries=6, query_blocks=2, num_upscales=1)).eval()
    vit.load_state_dict(plain.state_dict(), strict=False)
    seen: list[torch.Tensor] = []
    vit.mask_module.upscale.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    vit.mask_module.join_bias = lambda *_: torch.zeros(22 + 5, 22 + 5).index_fill(1, torch.arange(6), -torch.inf)
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        vit(images)
        torch.testing.assert_close(seen[0], plain(images)[0])


def test_pictures_and_operations_of_a_pretraining(
    image: str, image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretraining = tiny_pretraining(backbone=settings(**PRETRAINING))
    data = f'train_dataloader = dict(dataset=dict(pipeline={MASKED!r}))\n'
    files = write_model(tmp_path, 'pretraining', pretraining, data)
    run_tool('visualize_attention', *files, image, '--out', str(tmp_path / 'attention.png'))
    run_tool(
        'visualize_patch_pca',
        image,
        '--configs',
        files[0],
        '--checkpoints',
        files[1],
        '--out',
        str(tmp_path / 'pca.png'),
    )
    run_tool('visualize_masks', *files, str(image_folder), '--out', str(tmp_path / 'masks.png'))
    assert {path.name for path in tmp_path.glob('*.png')} == {'attention.png', 'pca.png', 'masks.png'}
    run_tool('get_flops', files[0], '--shape', '32', '32')
    assert 'neck' in capsys.readouterr().out
