from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from mmbeitv2.datasets.resizing import fit_image, resize


def picture(height: int, width: int) -> np.ndarray:
    """Noise of a wavelength of five pixels, (height, width, 3) uint8."""
    noise = np.random.default_rng(0).integers(0, 256, (height // 5 + 1, width // 5 + 1, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC))


def difference(pixels: torch.Tensor, reference: Image.Image) -> float:
    """Mean absolute difference, of 255."""
    return float(np.abs(pixels.permute(1, 2, 0).numpy().astype(int) - np.asarray(reference)).mean())


@pytest.mark.parametrize(
    ('source', 'size'),
    [((375, 500), (224, 224)), ((160, 190), (224, 224)), ((300, 200), (56, 48)), ((1200, 900), (224, 224))],
)
def test_resizing_is_pils_antialiased_bicubic(source: tuple[int, int], size: tuple[int, int]) -> None:
    image = picture(*source)
    reference = Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC)
    resized = resize(torch.from_numpy(image).permute(2, 0, 1), size)
    assert resized.dtype == torch.uint8
    assert difference(resized, reference) < 0.2
    without = cv2.resize(image, size[::-1], interpolation=cv2.INTER_CUBIC)
    if source > size:
        assert difference(torch.from_numpy(without).permute(2, 0, 1), reference) > 1


@pytest.mark.parametrize('source', [(375, 500), (500, 375), (224, 224), (225, 300), (100, 130), (300, 1000)])
def test_fitting_is_torchvisions_resize_and_centre_crop(source: tuple[int, int]) -> None:
    image = picture(*source)
    reference = Compose([Resize(224, InterpolationMode.BICUBIC), CenterCrop(224)])(Image.fromarray(image))
    fitted = fit_image(torch.from_numpy(image).permute(2, 0, 1), (224, 224), 'crop')
    assert fitted.shape == (3, 224, 224)
    assert difference(fitted, reference) < 0.2
    stretched = fit_image(torch.from_numpy(image).permute(2, 0, 1), (224, 160), 'stretch')
    assert difference(stretched, Image.fromarray(image).resize((160, 224), Image.Resampling.BICUBIC)) < 0.2


@pytest.mark.parametrize('source', [(1, 20000), (60000, 1), (7, 5000)])
def test_a_strip_is_cut_before_it_is_enlarged(source: tuple[int, int]) -> None:
    ramp = torch.linspace(0, 250, max(source)).view(1, -1, 1) if source[0] > 1 else torch.zeros(1, 1, 1)
    pixels = torch.zeros(3, *source, dtype=torch.uint8) + ramp.to(torch.uint8)[:, : source[0]]
    fitted = fit_image(pixels, (224, 224), 'crop')
    assert fitted.shape == (3, 224, 224)
    if source == (60000, 1):
        assert {124, 125}.issuperset(fitted.unique().tolist())  # the middle of the ramp
