"""EfficientUPerHead against mmseg's UPerHead, which has the same parameters."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mmbeitv2.errors import InputError

Pyramid = list[Tensor]


def build(kind: str, width: int = 6, levels: int = 4, **changes: object) -> nn.Module:
    init_default_scope('mmseg')
    settings = dict(
        type=kind,
        in_channels=[width + i for i in range(levels)],
        in_index=list(range(levels)),
        pool_scales=(1, 2, 3),
        channels=width,
        dropout_ratio=0,  # drawn anew in each
        num_classes=5,
        norm_cfg=dict(type='BN'),
        align_corners=False,
    )
    return MODELS.build(settings | changes)


def both(**changes: object) -> tuple[nn.Module, nn.Module]:
    """Ours and mmseg's, with the same weights."""
    ours, peer = (build(kind, **changes) for kind in ('mmbeitv2.EfficientUPerHead', 'UPerHead'))
    torch.manual_seed(0)
    for parameter in peer.parameters():
        nn.init.normal_(parameter, std=0.3)
    ours.load_state_dict(peer.state_dict())
    return ours, peer


def pyramid(*sizes: tuple[int, int], width: int = 6, batch: int = 2) -> Pyramid:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(batch, width + i, *size, generator=generator) for i, size in enumerate(sizes)]


SQUARE = ((16, 16), (8, 8), (4, 4), (2, 2))
UNEVEN = ((15, 22), (7, 11), (4, 5), (1, 3))
FLAT = ((8, 8), (8, 8), (8, 8), (8, 8))
GROWING = ((4, 6), (8, 12), (4, 6), (2, 3))  # a later map may be the larger one


@pytest.mark.parametrize('width', [6, 24], ids=['narrow', 'wide'])  # narrow ones enlarge some levels, as mmseg does
@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('sizes', [SQUARE, UNEVEN, FLAT, GROWING], ids=['square', 'uneven', 'flat', 'growing'])
@pytest.mark.parametrize(
    'layers',
    [dict(norm_cfg=dict(type='BN')), dict(norm_cfg=None), dict(act_cfg=None)],
    ids=['norm', 'bias', 'no activation'],
)
def test_results_gradients_and_statistics_are_those_of_mmseg(
    sizes: tuple[tuple[int, int], ...], layers: dict, align_corners: bool, width: int
) -> None:
    heads = [head.double().train() for head in both(width=width, align_corners=align_corners, **layers)]
    results, gradients, states = [], [], []
    for head in heads:
        maps = [x.double().requires_grad_() for x in pyramid(*sizes, width=width)]
        result = head(maps)
        (result * torch.linspace(-1, 1, result.numel()).view_as(result)).sum().backward()
        results.append(result)
        gradients.append([x.grad for x in (*maps, *head.parameters())])
        states.append(head.state_dict())
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(states[0], states[1], rtol=1e-9, atol=1e-9)


def test_rounding_is_as_fine_as_that_of_mmseg() -> None:
    """Root mean square error against double precision, in float32 and under autocast to bfloat16."""
    maps = pyramid((32, 32), (16, 16), (8, 8), (4, 4), width=48)
    ours, peer = (head.eval() for head in both(width=48))
    with torch.no_grad():
        exact = peer.double()([x.double() for x in maps])
        for dtype, limit in ((torch.float32, 1), (torch.bfloat16, 1.25)):  # measured: 0.42 and 1.11
            with torch.autocast('cpu', torch.bfloat16, enabled=dtype == torch.bfloat16):
                found, expected = ours(maps), peer.float()(maps)
            assert found.dtype == expected.dtype == dtype
            errors = [(x.double() - exact).pow(2).mean().sqrt() for x in (found, expected)]
            assert 0 < errors[0] < limit * errors[1]


def operations(channels: int, *sizes: tuple[int, int]) -> list[int]:
    """Of our head and of mmseg's, for one image."""
    counts = []
    for kind in ('mmbeitv2.EfficientUPerHead', 'UPerHead'):
        with torch.device('meta'):
            maps = [torch.empty(1, channels, *size) for size in sizes]
            head = build(kind, channels, in_channels=[channels] * 4, pool_scales=(1, 2, 3, 6), num_classes=150).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            head(maps)
        counts.append(counter.get_total_flops())
    return counts


def test_at_the_size_of_vit_b_it_takes_little_more_than_half_of_the_operations() -> None:
    ours, peer = operations(768, *((side, side) for side in (128, 64, 32, 16)))
    assert peer == pytest.approx(967e9, rel=0.001)  # docs/benchmarks.md
    assert ours == pytest.approx(510e9, rel=0.001)


def test_other_kinds_of_convolution_are_refused() -> None:
    for kind in ('Conv2d', nn.Conv2d):
        build('mmbeitv2.EfficientUPerHead', conv_cfg=dict(type=kind))
    with pytest.raises(InputError, match="conv_cfg={'type': 'DCNv2'}.* only knows plain Conv2d.*mmseg's UPerHead"):
        build('mmbeitv2.EfficientUPerHead', conv_cfg=dict(type='DCNv2'))
    with pytest.raises(InputError, match="'padding_mode': 'circular'"):
        build('mmbeitv2.EfficientUPerHead', conv_cfg=dict(type='Conv2d', padding_mode='circular'))
