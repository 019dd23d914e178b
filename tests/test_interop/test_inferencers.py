"""OpenMMLab's Python interfaces take our configs and checkpoints as they take their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope
from mmpretrain import FeatureExtractor, ImageClassificationInferencer
from mmseg.apis import MMSegInferencer, inference_model, init_model

from mmbeitv2.datasets import LoadImage
from tests.test_interop.conftest import CLASSES, Run, process_of_its_own


@pytest.fixture(autouse=True)
def _process_of_its_own() -> Iterator[None]:
    """The inferencers keep mmengine's default scope as they find it; no model is trained here."""
    with process_of_its_own('pytest'), torch.no_grad():
        yield


def through_the_test_pipeline(run: Run, model: torch.nn.Module) -> object:
    """What the model predicts for the image of a run, prepared as by tools/test.py."""
    cfg = Config.fromfile(run.config)
    init_default_scope(cfg.default_scope)
    pipeline = [step for step in cfg.test_dataloader.dataset.pipeline if step['type'] != 'LoadAnnotations']
    (prediction,) = model.test_step(pseudo_collate([Compose(pipeline)(dict(img_path=run.image))]))
    return prediction


def test_classification_inferencer_gives_the_predictions_of_the_test_pipeline_and_draws(
    classifier: Run, tmp_path: Path
) -> None:
    inferencer = ImageClassificationInferencer(classifier.config, classifier.checkpoint, device='cpu')
    expected = through_the_test_pipeline(classifier, inferencer.model)
    for image in (classifier.image, cv2.imread(classifier.image)):
        (result,) = inferencer(image)
        np.testing.assert_allclose(result['pred_scores'], expected.pred_score, rtol=1e-6)
        assert result['pred_class'] == CLASSES[int(expected.pred_label)]

    assert len(inferencer(str(Path(classifier.image).parent), batch_size=3, show_dir=str(tmp_path))) == 4
    assert {path.name for path in tmp_path.iterdir()} == {'0.png', '2.png', '4.png', '6.png'}


def test_feature_extractor_gives_what_the_backbone_gives(classifier: Run) -> None:
    extractor = FeatureExtractor(classifier.config, classifier.checkpoint, device='cpu')
    pipeline = Compose([LoadImage(), extractor.pipeline])
    data = extractor.model.data_preprocessor(pseudo_collate([pipeline(dict(img_path=classifier.image))]))
    images = torch.stack(data['inputs']) if isinstance(data['inputs'], list) else data['inputs']
    (expected,) = extractor.model.backbone(images)
    (feature,) = extractor(classifier.image)[0]
    torch.testing.assert_close(feature, expected[0])
    assert extractor(classifier.image, stage='backbone')[0][0].shape == (32,)


def test_segmentation_inferencer_gives_the_predictions_of_the_test_pipeline(segmentor: Run, tmp_path: Path) -> None:
    inferencer = MMSegInferencer(segmentor.config, segmentor.checkpoint, device='cpu')
    expected = through_the_test_pipeline(segmentor, inferencer.model).pred_sem_seg.data[0].numpy()
    results = inferencer([segmentor.image, cv2.imread(segmentor.image)], out_dir=str(tmp_path))
    for labels in results['predictions']:
        np.testing.assert_array_equal(labels, expected)
    assert (cv2.imread(str(tmp_path / 'pred' / '00000000_pred.png'), cv2.IMREAD_UNCHANGED) == expected).all()
    assert (tmp_path / 'vis' / '0.jpg').is_file()


def test_inference_model_of_mmseg_gives_the_predictions_of_the_test_pipeline(segmentor: Run) -> None:
    model = init_model(segmentor.config, segmentor.checkpoint, device='cpu')
    expected = through_the_test_pipeline(segmentor, model).seg_logits.data
    for image in (segmentor.image, cv2.imread(segmentor.image)):
        torch.testing.assert_close(inference_model(model, image).seg_logits.data, expected)
    assert len(model.dataset_meta['classes']) == 150
