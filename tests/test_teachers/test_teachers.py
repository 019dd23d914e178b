from __future__ import annotations

import json
import socket
from pathlib import Path

import open_clip
import pytest
import timm
import torch
import torch.nn.functional as F

from mmbeitv2.errors import InputError
from mmbeitv2.teachers import OpenCLIPTeacher, TimmTeacher

CLIP = {
    'embed_dim': 24,
    'vision_cfg': {'image_size': 32, 'patch_size': 8, 'width': 32, 'layers': 2, 'head_width': 16},
    'text_cfg': {'context_length': 8, 'vocab_size': 64, 'width': 16, 'heads': 2, 'layers': 1},
}


@pytest.fixture
def clip_folder(tmp_path: Path) -> Path:
    (tmp_path / 'open_clip_config.json').write_text(json.dumps({'model_cfg': CLIP, 'preprocess_cfg': {}}))
    torch.save(open_clip.CLIP(**CLIP).state_dict(), tmp_path / 'open_clip_pytorch_model.bin')
    return tmp_path


def test_clip_features_are_projected_patch_tokens_after_ln_post(clip_folder: Path) -> None:
    teacher = OpenCLIPTeacher(f'local-dir:{clip_folder}', pretrained=None)
    images = torch.rand(2, 3, 32, 32)
    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
    visual = teacher.module
    x = visual.conv1((images - mean.view(3, 1, 1)) / std.view(3, 1, 1)).flatten(2).transpose(1, 2)
    x = torch.cat((visual.class_embedding.expand(2, 1, -1), x), dim=1) + visual.positional_embedding
    x = visual.ln_post(visual.transformer(visual.ln_pre(x)))[:, 1:] @ visual.proj
    torch.testing.assert_close(teacher(images, (4, 4)), x)
    assert teacher.embed_dims == 24


def test_features_are_resampled_to_the_grid_of_the_tokenizer(clip_folder: Path) -> None:
    teacher = OpenCLIPTeacher(f'local-dir:{clip_folder}', pretrained=None)
    images = torch.rand(1, 3, 64, 64)
    coarse = teacher(images, (4, 4)).transpose(1, 2).view(1, 24, 4, 4)
    expected = F.interpolate(coarse, size=(8, 8), mode='bilinear').flatten(2).transpose(1, 2)
    torch.testing.assert_close(teacher(images, (8, 8)), expected)


@pytest.mark.parametrize(
    ('model', 'prefix', 'width'),
    [
        ('vit_small_patch16_224.dino', 1, 384),
        ('vit_small_patch16_dinov3', 5, 384),
        ('vit_base_patch16_siglip_224', 0, 768),
    ],
)
def test_timm_features_are_normed_patch_tokens_without_class_and_registers(model: str, prefix: int, width: int) -> None:
    teacher = TimmTeacher(model, pretrained=False, img_size=64)
    images = torch.rand(1, 3, 64, 64)
    tokens = teacher.module.forward_features((images - teacher.mean) / teacher.std)[:, prefix:]
    torch.testing.assert_close(teacher(images, (4, 4)), tokens)
    assert tokens.shape == (1, 16, width) == (1, 16, teacher.embed_dims)
    former = teacher.fingerprint()
    teacher.std.mul_(2)  # other features of the same weights
    assert teacher.fingerprint() != former


def test_weights_that_do_not_fit_clip_are_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / 'ViT-B-16.pt')  # as OpenAI's: TorchScript
    for pretrained, message in (
        ('openai', "QuickGELU.*'ViT-B-16-quickgelu'"),
        (str(tmp_path / 'ViT-B-16.pt'), 'QuickGELU'),
        ('missing.pt', 'neither a file nor a tag'),
    ):
        with pytest.raises(InputError, match=message):
            OpenCLIPTeacher('ViT-B-16', pretrained)
    torch.save({'weight': torch.zeros(2, 2)}, tmp_path / 'other.pt')
    for build in (
        lambda: OpenCLIPTeacher('ViT-S-32', str(tmp_path / 'other.pt')),
        lambda: TimmTeacher('no_model', pretrained=False),
    ):
        with pytest.raises(InputError, match='cannot build the teacher .* with pretrained=.*Correct one of them'):
            build()


def test_a_cnn_teaches_by_the_feature_map_of_a_stage() -> None:
    teacher = TimmTeacher('mobilenetv2_050', pretrained=False, img_size=64, out_index=-2)
    images = torch.rand(2, 3, 64, 64)
    network = teacher.module
    x = network.bn1(network.conv_stem((images - teacher.mean) / teacher.std))
    for stage in network.blocks[:5]:  # stride 16
        x = stage(x)
    torch.testing.assert_close(teacher(images, (4, 4)), x.flatten(2).transpose(1, 2))
    assert teacher.embed_dims == x.shape[1]


@pytest.mark.parametrize('model', ['vit_tiny_patch16_224', 'mobilenetv2_050'])
def test_a_local_folder_of_timm_gives_the_features_of_its_model(model: str, tmp_path: Path) -> None:
    network = timm.create_model(model).eval()
    timm.models.save_for_hf(network, tmp_path, safe_serialization=True)
    size = dict(img_size=64) if model.startswith('vit') else {}
    file = dict(file=str(tmp_path / 'model.safetensors'))
    expected = timm.create_model(model, pretrained=True, pretrained_cfg_overlay=file, **size).eval()
    teacher, images = TimmTeacher(f'local-dir:{tmp_path}', img_size=64), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        (features,) = expected.forward_intermediates(
            (images - teacher.mean) / teacher.std, indices=[-1], norm=True, intermediates_only=True
        )
    found = teacher(images, tuple(features.shape[-2:]))  # channels last in memory, which rounds otherwise
    torch.testing.assert_close(found, features.flatten(2).transpose(1, 2), rtol=1e-3, atol=1e-5)


def test_a_hub_out_of_reach_names_the_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_network(*args: object, **kwargs: object) -> None:
        raise OSError('Network is unreachable')

    monkeypatch.setattr(socket.socket, 'connect', no_network)
    monkeypatch.setattr(socket, 'getaddrinfo', no_network)
    monkeypatch.setenv('HF_HOME', str(tmp_path))
    for build, address in (
        (lambda: TimmTeacher('vit_base_patch16_224.dino'), 'https://huggingface.co/timm/vit_base_patch16_224.dino'),
        (lambda: TimmTeacher('hf-hub:org/name'), 'https://huggingface.co/org/name'),
        (OpenCLIPTeacher, 'https://openaipublic.azureedge.net/.*/ViT-B-16.pt'),
        (lambda: OpenCLIPTeacher('ViT-B-16-SigLIP', 'webli'), 'https://huggingface.co/timm/ViT-B-16-SigLIP'),
    ):
        with pytest.raises(InputError, match=f'cannot build .* network, download {address}.* and set pretrained'):
            build()


@pytest.mark.gpu
@pytest.mark.parametrize('precision', ['float16', 'bfloat16'])
def test_half_precision_on_the_gpu_is_close_to_float32(precision: str) -> None:
    images = torch.rand(4, 3, 64, 64, device='cuda')
    features = []
    for setting in ('float32', precision):
        torch.manual_seed(0)
        teacher = TimmTeacher('vit_small_patch16_224', pretrained=False, img_size=64, precision=setting).cuda()
        with torch.autocast('cuda'):
            features.append(teacher(images, (4, 4)))
    assert features[1].dtype == torch.float32
    assert F.cosine_similarity(*features, dim=-1).min() > 0.999
    assert not torch.equal(*features)
