from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from mmbeitv2.errors import InputError
from mmbeitv2.teachers import HuggingFaceTeacher

SIZES = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
VISION = dict(SIZES, image_size=32, patch_size=8)
TEXT = dict(SIZES, vocab_size=32, max_position_embeddings=8)
# configuration, and the number of tokens before those of the patches
KINDS = {
    'dinov2': (lambda: transformers.Dinov2Config(**VISION), 1),
    'dinov2-registers': (lambda: transformers.Dinov2WithRegistersConfig(**VISION, num_register_tokens=4), 5),
    'dinov3': (lambda: transformers.DINOv3ViTConfig(**VISION, num_register_tokens=4), 5),
    'siglip': (lambda: transformers.SiglipConfig(text_config=TEXT, vision_config=VISION), 0),
    'siglip-vision': (lambda: transformers.SiglipVisionConfig(**VISION), 0),
    'clip-vision': (lambda: transformers.CLIPVisionConfig(**VISION), 1),
}


def save(config: transformers.PretrainedConfig, folder: Path) -> torch.nn.Module:
    model = transformers.AutoModel.from_config(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    size = {'height': 32, 'width': 32}
    processor = transformers.ViTImageProcessor(size=size, image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6])
    processor.save_pretrained(folder)
    return model


@pytest.mark.parametrize('kind', KINDS)
def test_features_are_the_patch_tokens_of_transformers(kind: str, tmp_path: Path) -> None:
    config, prefix = KINDS[kind]
    model = save(config(), tmp_path)
    model = getattr(model, 'vision_model', model)
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)
    for img_size, side in ((None, 4), (48, 6)):
        teacher = HuggingFaceTeacher(str(tmp_path), img_size=img_size)
        assert (teacher.img_size, teacher.embed_dims) == (side * 8, 16)
        images = torch.rand(2, 3, side * 8, side * 8)
        asked = {'interpolate_pos_encoding': True} if 'clip' in kind or 'siglip' in kind else {}
        with torch.no_grad():
            expected = model(pixel_values=(images - mean) / std, **asked).last_hidden_state[:, prefix:]
        torch.testing.assert_close(teacher(images, (side, side)), expected)


@pytest.mark.parametrize('config', [transformers.BertConfig(**TEXT), transformers.ConvNextConfig(hidden_sizes=[8] * 4)])
def test_a_model_without_patch_features_is_refused(config: transformers.PretrainedConfig, tmp_path: Path) -> None:
    save(config, tmp_path)
    with pytest.raises(InputError, match='gives no feature to each patch of an image'):
        HuggingFaceTeacher(str(tmp_path))


def test_an_image_is_at_least_one_patch(tmp_path: Path) -> None:
    save(transformers.Dinov2Config(**VISION), tmp_path)
    with pytest.raises(InputError, match='less than one patch of 8 pixels'):
        HuggingFaceTeacher(str(tmp_path), img_size=4)


def test_a_model_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    save(transformers.Dinov2Config(**VISION), tmp_path)
    transformers.ViTConfig(**VISION | dict(intermediate_size=64)).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r'the teacher .* has no weights layers.0.*\.\.\.\. Choose'):
        HuggingFaceTeacher(str(tmp_path))
    with pytest.raises(InputError, match=r'cannot load the teacher .*nothing.* with transformers \(OSError\)'):
        HuggingFaceTeacher(str(tmp_path / 'nothing'))
