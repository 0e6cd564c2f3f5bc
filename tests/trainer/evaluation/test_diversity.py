import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from trainer.evaluation.diversity import diversity, diversity_of_prompts, ssim

GENERATOR = torch.Generator().manual_seed(0)
NOISE_RC3HW = torch.randint(256, (2, 4, 3, 32, 32), generator=GENERATOR, dtype=torch.uint8)


def test_similarity_is_scikit_images() -> None:
    x, y = torch.rand(2, 3, 40, 24, generator=GENERATOR).double()
    expected = structural_similarity(
        x.numpy(), y.numpy(), win_size=7, channel_axis=0, data_range=1.0, use_sample_covariance=False
    )
    assert float(ssim(x[None], y[None])) == pytest.approx(float(expected), abs=1e-9)


def test_a_collapse_to_one_picture_per_prompt_has_no_diversity() -> None:
    collapsed = NOISE_RC3HW[:, :1].expand_as(NOISE_RC3HW)
    measured = diversity(NOISE_RC3HW, collapsed)
    assert measured is not None
    assert measured.tuned == pytest.approx(0.0, abs=1e-6)
    assert measured.relative == pytest.approx(0.0, abs=1e-6)
    assert measured.base > 0.9


def test_a_collapse_on_one_prompt_shows_in_the_lowest() -> None:
    tuned = NOISE_RC3HW.clone()
    tuned[1] = tuned[1, 0]
    measured = diversity(NOISE_RC3HW, tuned)
    assert measured is not None
    assert measured.relative == pytest.approx(0.5, abs=0.1)
    assert measured.lowest == pytest.approx(0.0, abs=1e-6)


def test_the_mean_is_over_all_pairs_of_a_prompt_and_never_between_prompts() -> None:
    a, b = NOISE_RC3HW[0, 0], NOISE_RC3HW[1, 0]
    between = 1 - float(ssim(a[None].float() / 255, b[None].float() / 255))
    images = torch.stack([torch.stack([a, a, b]), torch.stack([b, b, b])])
    assert diversity_of_prompts(images).tolist() == pytest.approx([2 / 3 * between, 0.0], abs=1e-6)


def test_stronger_contrast_alone_hardly_looks_more_diverse() -> None:
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    stripes = torch.stack([x % 16 < 8, y % 16 < 8]).float()[None, :, None].expand(1, 2, 3, 64, 64)
    dull, strong = ((127 + height * (stripes - 0.5)).round().to(torch.uint8) for height in (100, 200))
    measured = diversity(dull, strong)
    assert measured is not None
    assert measured.relative == pytest.approx(1.0, abs=0.05)
    pixel_distance = [float(np.std((images[0, 0].float() - images[0, 1].float()).numpy())) for images in (dull, strong)]
    assert pixel_distance[1] == pytest.approx(2 * pixel_distance[0])


def test_large_pictures_are_compared_small() -> None:
    fine = torch.randint(256, (1, 3, 3, 512, 256), generator=GENERATOR, dtype=torch.uint8)
    smooth = torch.full_like(fine, 128)
    measured = diversity(fine, smooth)
    assert measured is not None
    assert measured.base < 0.9  # what differs from pixel to pixel averages out
    assert measured.tuned == pytest.approx(0.0, abs=1e-6)


def test_one_image_per_prompt_has_no_diversity_to_measure() -> None:
    assert diversity(NOISE_RC3HW[:, :1], NOISE_RC3HW[:, :1]) is None
    constant = torch.zeros_like(NOISE_RC3HW)
    measured = diversity(constant, NOISE_RC3HW)
    assert measured is not None
    assert measured.relative is None
