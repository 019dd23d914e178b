from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torchvision.transforms.functional as TF
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop

from mmbeitv2.datasets import DrawColorJitter
from mmbeitv2.errors import InputError
from mmbeitv2.pretraining.preprocessor import BEiTv2DataPreprocessor, jitter_colors, masked_indices

OPERATIONS = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation)


def test_jitter_is_torchvisions_with_each_images_own_factors_and_order() -> None:
    images = torch.rand(4, 3, 9, 7)
    orders = torch.tensor([[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]])
    factors = torch.empty(4, 3).uniform_(0.6, 1.4)
    jittered = jitter_colors(images, torch.stack((orders.float(), factors), dim=2))
    for image, order, factor, result in zip(images, orders, factors, jittered, strict=True):
        for operation, value in zip(order, factor, strict=True):
            image = OPERATIONS[operation](image, value.item())
        torch.testing.assert_close(result, image, atol=2e-4, rtol=0)  # torchvision rounds its luma weights


def test_both_views_come_from_one_bgr_crop() -> None:
    inputs = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    mask = torch.zeros(2, 4, dtype=torch.bool)
    mask[0, 3], mask[1, 1] = True, True
    batch = BEiTv2DataPreprocessor()(dict(inputs=inputs, mask=mask))['inputs']
    rgb = inputs.flip(1).float()
    torch.testing.assert_close(batch['views'], rgb / 127.5 - 1)
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    torch.testing.assert_close(batch['images'], (rgb - mean.view(3, 1, 1)) / std.view(3, 1, 1))
    assert batch['masked_index'].tolist() == [[3], [1]]


def test_masks_with_different_counts_are_refused() -> None:
    with pytest.raises(InputError, match='between 1 and 2 patches.*in every image. Use mmbeitv2.BlockMaskGenerator'):
        masked_indices(torch.tensor([[True, True, False], [True, False, False]]))


def test_jitter_after_the_crop_is_distributed_as_the_references_before_it() -> None:
    """The reference jitters the whole image, then crops: contrast then takes its mean gray from the whole image."""
    rng = np.random.default_rng(0)
    scene = np.zeros((12, 96, 128, 3))
    for octave in range(5):
        for image in scene:
            noise = rng.normal(size=(3 << octave, 4 << octave, 3))
            image += cv2.resize(noise, (128, 96), interpolation=cv2.INTER_CUBIC) / 1.5**octave
    scenes = torch.from_numpy((0.5 + 0.2 * scene).clip(0, 1)).permute(0, 3, 1, 2).float()
    draw, num_draws = DrawColorJitter(0.4, 0.4, 0.4), 1200
    statistics: list[list[list[float]]] = [[], []]
    for i in range(num_draws):  # the same draws for both, so that chance makes no difference
        image, factors = scenes[i % len(scenes)][None], torch.from_numpy(draw.transform({})['jitter'])[None]
        top, left, height, width = RandomResizedCrop.get_params(image, (0.2, 1.0), (3 / 4, 4 / 3))
        window = (..., slice(top, top + height), slice(left, left + width))
        for found, result in zip(
            statistics, (jitter_colors(image, factors)[window], jitter_colors(image[window], factors)), strict=True
        ):
            gray, saturation = result.mean(dim=1), result.amax(dim=1) - result.amin(dim=1)
            found.append([gray.mean().item(), gray.std().item(), saturation.mean().item()])
    for reference, ours in zip(*(np.array(values).T for values in statistics), strict=True):
        distance = ks_2samp(reference, ours).statistic  # the largest one between the two distribution functions
        assert 0 < distance < 0.03


def test_channels_are_normalized_by_their_own_statistics_and_ranges() -> None:
    inputs = torch.rand(2, 5, 8, 8) * 3000
    mean, std = [1000.0, 1100, 1200, 1300, 1400], [200.0, 300, 400, 500, 600]
    ranges = [(0, 2000 + 100 * channel) for channel in range(5)]
    preprocessor = BEiTv2DataPreprocessor(mean, std, to_rgb=False, value_range=ranges)
    batch = preprocessor(dict(inputs=inputs, mask=torch.tensor([[True, False]] * 2)))['inputs']
    for channel in range(5):
        values = inputs[:, channel]
        expected = (values - mean[channel]) / std[channel]
        torch.testing.assert_close(batch['images'][:, channel], expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(batch['views'][:, channel], values / ranges[channel][1] * 2 - 1)


def test_jitter_changes_the_color_channels_as_a_picture_and_no_other() -> None:
    inputs, jitter = torch.rand(2, 5, 8, 8) * 1000, DrawColorJitter().transform({})['jitter']
    settings = dict(mean=[500] * 5, std=[250] * 5, to_rgb=False, value_range=(0, 1000), color_channels=(2, 1, 0))
    data = dict(inputs=inputs, mask=torch.tensor([[True, False]] * 2))
    batch = BEiTv2DataPreprocessor(**settings)(data | dict(jitter=torch.tensor(jitter).repeat(2, 1, 1)))['inputs']
    expected = jitter_colors(inputs[:, [2, 1, 0]] / 1000, torch.tensor(jitter).repeat(2, 1, 1))
    torch.testing.assert_close(batch['views'][:, [2, 1, 0]], expected * 2 - 1)
    torch.testing.assert_close(batch['views'][:, 3:], inputs[:, 3:] / 500 - 1)
    with pytest.raises(InputError, match=r'color_channels=\(0, 1, 5\) must be three channels, .* between 0 and 4'):
        BEiTv2DataPreprocessor(**(settings | dict(color_channels=(0, 1, 5))))
    colorless = BEiTv2DataPreprocessor(**(settings | dict(color_channels=None)))
    with pytest.raises(InputError, match='the images have no color channels. Set color_channels'):
        colorless(data | dict(jitter=torch.tensor(jitter).repeat(2, 1, 1)))
