"""Random changes of images: what each does, compared with loops over images, and on what it depends
and on what not."""

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import stats

from bigjax.data.images import augment
from bigjax.data.images.augment import Augmentation
from bigjax.data.random_keys import uniform
from bigjax.errors import UserError

MASK = 2**64 - 1
GOLDEN_KEYS = [7687626429108956431, 9893497053500765580, 12384771471428680869]
ALL = Augmentation(pad_crop=2, flip=True, cutout=3, randaugment_layers=2)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def keys_of(num: int, *, seed: int = 0) -> np.ndarray:
    return augment.keys(np.arange(num), seed=seed)


# --- keys ---


def slow_mix(x: int) -> int:
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def slow_uniform(key: int, name: str) -> float:
    stream = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return (slow_mix(key ^ stream) >> 11) / 2**53


@given(st.lists(st.integers(0, 2**40), max_size=20), st.integers(0, 2**70))
def test_a_key_is_an_output_of_splitmix64_started_at_a_hash_of_the_seed(numbers, seed):
    found = augment.keys(np.array(numbers, np.int64), seed=seed)
    assert found.dtype == np.uint64
    start = slow_mix(seed & MASK)
    expected = [slow_mix(start + 0x9E3779B97F4A7C15 * (number + 1) & MASK) for number in numbers]
    assert found.tolist() == expected


def test_splitmix64_is_that_of_its_authors():
    # The first outputs for the seed 1234567, of their own program.
    state, outputs = 1234567, []
    for _ in range(3):
        state = state + 0x9E3779B97F4A7C15 & MASK
        outputs.append(slow_mix(state))
    assert outputs == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_keys_never_change_or_runs_of_older_versions_could_not_be_resumed():
    assert augment.keys(np.array([0, 1, 10**9]), seed=5).tolist() == GOLDEN_KEYS


def test_keys_of_rows_and_of_seeds_differ_and_a_negative_seed_is_an_error_of_the_user():
    every = np.concatenate([keys_of(10_000, seed=seed) for seed in range(10)])
    assert len(np.unique(every)) == len(every)
    with pytest.raises(UserError, match="seed=-1: expected 0 or more"):
        keys_of(1, seed=-1)


def test_draws_are_uniform_and_those_of_different_streams_rows_and_seeds_independent():
    draws = {
        "one": uniform(keys_of(20_000), "crop x"),
        "another stream": uniform(keys_of(20_000), "crop y"),
        "another seed": uniform(keys_of(20_000, seed=1), "crop x"),
        "the next row": uniform(keys_of(20_001)[1:], "crop x"),
    }
    for name, found in draws.items():
        assert stats.kstest(found, "uniform").pvalue > 1e-4, name
        if name != "one":
            table = np.histogram2d(draws["one"], found, bins=8, range=[[0, 1], [0, 1]])[0]
            assert stats.chisquare(table.ravel()).pvalue > 1e-4, name
    integers = augment._integers(keys_of(20_000), "crop x", below=9)
    assert stats.chisquare(np.bincount(integers, minlength=9)).pvalue > 1e-4


# --- crop, flip, cutout ---


def slow_augment(pixels: np.ndarray, *, keys: np.ndarray, policy: Augmentation) -> np.ndarray:
    """Image by image, with padding: what `augment` does without RandAugment."""
    found = []
    for image, key in zip(pixels, keys.tolist()):
        height, width, _ = image.shape
        pad = policy.pad_crop
        integer = lambda name, below, key=key: int(slow_uniform(key, name) * below)  # noqa: E731
        padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
        top, left = integer("crop y", 2 * pad + 1), integer("crop x", 2 * pad + 1)
        image = padded[top : top + height, left : left + width].copy()
        if policy.flip and integer("flip", 2):
            image = image[:, ::-1]
        image = image.copy()
        if policy.cutout:
            top = integer("cutout y", height) - policy.cutout // 2
            left = integer("cutout x", width) - policy.cutout // 2
            for y in range(height):
                for x in range(width):
                    if 0 <= y - top < policy.cutout and 0 <= x - left < policy.cutout:
                        image[y, x] = 128
        found.append(image)
    return np.array(found).reshape(pixels.shape)


@given(
    st.tuples(st.integers(0, 12), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3])),
    st.booleans(),
    st.integers(0, 12),
    st.data(),
)
def test_crop_flip_and_cutout_are_what_loops_over_images_and_pixels_give(shape, flip, cutout, data):
    pad_crop = data.draw(st.integers(0, min(shape[1:3]) - 1))
    policy = Augmentation(pad_crop=pad_crop, flip=flip, cutout=cutout)
    pixels, keys = noise(*shape), keys_of(shape[0], seed=data.draw(st.integers(0, 99)))
    before = pixels.copy()
    found = augment.augment(pixels, keys=keys, policy=policy)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, slow_augment(pixels, keys=keys, policy=policy))
    np.testing.assert_array_equal(pixels, before, err_msg="the images themselves stay")


def test_every_crop_occurs_as_often_as_any_other_and_half_of_the_images_are_flipped():
    num, pad = 8000, 2
    ramp = (np.arange(12)[:, None] * 12 + np.arange(12)).astype(np.uint8)[None, ..., None]
    pixels = np.broadcast_to(ramp, (num, 12, 12, 1))
    crops = augment.augment(pixels, keys=keys_of(num), policy=Augmentation(pad_crop=pad))
    offsets = crops[:, 6, 6, 0].astype(int) - (6 * 12 + 6)
    places, counts = np.unique(offsets, return_counts=True)
    assert places.tolist() == [12 * y + x for y in range(-2, 3) for x in range(-2, 3)]
    assert stats.chisquare(counts).pvalue > 1e-4
    flips = augment.augment(pixels, keys=keys_of(num), policy=Augmentation(flip=True))
    share = (flips[:, 0, 0, 0] == 11).mean()
    assert abs(share - 0.5) < 4.5 * 0.5 / math.sqrt(num)
    cut = augment.augment(pixels * 0, keys=keys_of(num), policy=Augmentation(cutout=4)) == 128
    seen = cut[..., 0].mean(axis=0)
    assert abs(seen[6, 6] - 16 / 144) < 4.5 * math.sqrt(seen[6, 6] / num)
    assert seen[0, 0] < seen[0, 6] < seen[6, 6], "the square may reach over the border"


def test_a_border_wider_than_the_image_is_an_error_of_the_user():
    with pytest.raises(UserError, match="augment.pad_crop=4 reflects more .* 4x9; expected 0 to 3"):
        augment.augment(noise(2, 4, 9, 3), keys=keys_of(2), policy=Augmentation(pad_crop=4))


# --- all changes ---


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_is_changed_alike_whatever_is_beside_it(channels):
    pixels, keys = noise(40, 9, 12, channels), keys_of(40)
    together = augment.augment(pixels, keys=keys, policy=ALL)
    assert together.shape == pixels.shape and together.dtype == np.uint8
    order = np.random.default_rng(0).permutation(40)
    apart = augment.augment(pixels[order], keys=keys[order], policy=ALL)
    np.testing.assert_array_equal(apart, together[order])
    alone = [augment.augment(pixels[[i]], keys=keys[[i]], policy=ALL)[0] for i in range(40)]
    np.testing.assert_array_equal(alone, together)
    other_seed = augment.augment(pixels, keys=keys_of(40, seed=1), policy=ALL)
    assert (other_seed != together).any(axis=(1, 2, 3)).mean() > 0.9
    assert augment.augment(pixels[:0], keys=keys[:0], policy=ALL).shape == (0, 9, 12, channels)


def test_no_policy_changes_nothing():
    pixels = noise(5, 8, 8, 3)
    found = augment.augment(pixels, keys=keys_of(5), policy=Augmentation())
    np.testing.assert_array_equal(found, pixels)


def change(name: str, image: np.ndarray, *, strength: float, sign: int) -> np.ndarray:
    return np.asarray(augment._CHANGES[name](Image.fromarray(image), strength, sign))


SIGNED = ("rotate", "shear x", "shear y", "translate x", "translate y")
FACTORS = ("color", "contrast", "brightness", "sharpness")


def test_there_are_the_fourteen_changes_of_the_paper():
    others = ("identity", "auto contrast", "equalize", "solarize", "posterize")
    assert sorted(augment._CHANGES) == sorted([*SIGNED, *FACTORS, *others])


@pytest.mark.parametrize("name", [*SIGNED, *FACTORS, "solarize", "posterize", "identity"])
@pytest.mark.parametrize("shape", [(11, 14), (11, 14, 3)])
def test_a_change_of_no_strength_is_none(name, shape):
    image = noise(*shape)
    for sign in (-1, 1):
        np.testing.assert_array_equal(change(name, image, strength=0.0, sign=sign), image)
        changed = change(name, image, strength=1.0, sign=sign)
        assert changed.shape == shape
        grey_has_no_colour = name == "color" and len(shape) == 2
        assert (changed != image).any() == (name != "identity" and not grey_has_no_colour)


def test_changes_of_values_are_those_of_the_paper():
    image = noise(10, 12, 3)
    whole = image.astype(int)
    for strength in (0.0, 0.3, 1.0):
        threshold = round(256 * (1 - strength))
        expected = np.where(whole < threshold, whole, 255 - whole)
        found = change("solarize", image, strength=strength, sign=1)
        np.testing.assert_array_equal(found, expected)
        bits = 8 - round(4 * strength)
        found = change("posterize", image, strength=strength, sign=1)
        np.testing.assert_array_equal(found, whole >> (8 - bits) << (8 - bits))
        for sign in (-1, 1):
            factor = 1 + 0.9 * sign * strength
            found = change("brightness", image, strength=strength, sign=sign)
            np.testing.assert_allclose(found, np.clip(whole * factor, 0, 255), atol=1)
            grey = whole @ [0.299, 0.587, 0.114]
            expected = grey.mean() + factor * (whole - grey.mean())
            found = change("contrast", image, strength=strength, sign=sign)
            np.testing.assert_allclose(found, np.clip(expected, 0, 255), atol=2)
            expected = grey[..., None] + factor * (whole - grey[..., None])
            found = change("color", image, strength=strength, sign=sign)
            np.testing.assert_allclose(found, np.clip(expected, 0, 255), atol=2)
    narrow = image // 4 + 50
    stretched = change("auto contrast", narrow, strength=0.5, sign=1)
    assert (stretched.min(axis=(0, 1)) == 0).all() and (stretched.max(axis=(0, 1)) >= 254).all()
    narrow = noise(64, 64) // 4 + 50
    equalized = np.sort(change("equalize", narrow, strength=0.5, sign=1).ravel())
    assert np.abs(equalized - np.linspace(0, 255, equalized.size)).max() < 24


def test_changes_of_places_are_those_of_the_paper():
    image = noise(20, 20)
    moved = change("translate x", image, strength=1.0, sign=1)
    np.testing.assert_array_equal(moved[:, :11], image[:, 9:])
    assert (moved[:, 11:] == 128).all()
    in_colour = change("translate x", noise(20, 20, 3), strength=1.0, sign=1)
    assert (in_colour[:, 11:] == 128).all()
    moved = change("translate y", image, strength=1.0, sign=-1)
    np.testing.assert_array_equal(moved[9:], image[:11])
    assert (moved[:9] == 128).all()
    dot = np.zeros((21, 21), np.uint8)
    dot[10, 18] = 255  # eight to the right of the centre
    for sign in (-1, 1):
        angle = math.radians(30)
        row, column = np.unravel_index(
            change("rotate", dot, strength=1.0, sign=sign).argmax(), (21, 21)
        )
        assert column == round(10 + 8 * math.cos(angle))
        assert abs(row - 10) == round(8 * math.sin(angle))
    line = np.zeros((21, 21), np.uint8)
    line[:, 10] = 255
    sheared = change("shear x", line, strength=1.0, sign=1)
    places = sheared.argmax(axis=1)
    assert abs(places[20] - places[0]) == round(0.3 * 20) and places[10] == 10
    upright = change("shear y", line.T.copy(), strength=1.0, sign=1).T
    np.testing.assert_array_equal(upright[:, 4:-4], sheared[:, 4:-4])  # the rest is left open


def test_randaugment_makes_so_many_changes_in_a_row_each_as_often_as_any_other(monkeypatch):
    calls: list[tuple[str, float, int]] = []

    def spy(name):
        return lambda image, strength, sign: calls.append((name, strength, sign)) or image

    monkeypatch.setattr(augment, "_CHANGES", {name: spy(name) for name in augment._CHANGES})
    policy = Augmentation(randaugment_layers=3, randaugment_magnitude=15.0)
    augment.augment(noise(3000, 2, 2, 1), keys=keys_of(3000), policy=policy)
    names, strengths, signs = zip(*calls)
    assert len(calls) == 9000
    assert set(strengths) == {0.5}
    assert abs(np.mean(signs)) < 4.5 / math.sqrt(len(signs))
    for layer in range(3):
        counts = np.unique(names[layer::3], return_counts=True)[1]
        assert len(counts) == 14 and stats.chisquare(counts).pvalue > 1e-4
    pairs = np.unique([f"{a} {b}" for a, b in zip(names[::3], names[1::3])], return_counts=True)[1]
    assert stats.chisquare(np.r_[pairs, [0] * (196 - len(pairs))]).pvalue > 1e-4


# --- mixing ---

SHAPE = (32, 24, 3)


def mix(numbers, *, batch_rows: int, seed: int = 0, shape=SHAPE, **policy) -> augment.Mixing:
    options = {"batch_rows": batch_rows, "seed": seed, "shape": shape}
    return augment.mixing(np.asarray(numbers), policy=Augmentation(**policy), **options)


def steps_of(num: int, **policy) -> augment.Mixing:
    """The first row of each of so many steps."""
    return mix(np.arange(num) * 2, batch_rows=2, **policy)


@given(st.integers(1, 50), st.integers(0, 10**12), st.integers(0, 10))
def test_the_partners_of_a_batch_are_the_batch_and_none_is_its_own(batch_rows, step, seed):
    numbers = step * batch_rows + np.arange(batch_rows)
    found = mix(numbers, batch_rows=batch_rows, seed=seed, mixup_alpha=0.2)
    assert found.partner.dtype == np.int64
    assert sorted(found.partner.tolist()) == numbers.tolist()
    assert (batch_rows == 1) or (found.partner != numbers).all()
    assert len(set(found.lam.tolist())) == 1, "one share in a step"


@pytest.mark.parametrize(
    "policy", [{"mixup_alpha": 0.5}, {"mixup_alpha": 1.0, "cutmix_alpha": 1.0}]
)
def test_mixing_is_a_function_of_seed_and_step_whichever_rows_are_asked_for(policy):
    whole = mix(np.arange(70), batch_rows=7, **policy)
    order = np.random.default_rng(0).permutation(70)
    for found, expected in zip(mix(order, batch_rows=7, **policy), whole):
        np.testing.assert_array_equal(found, expected[order])
    for number in range(70):
        for found, expected in zip(mix([number], batch_rows=7, **policy), whole):
            np.testing.assert_array_equal(found[0], expected[number])
    assert (mix(np.arange(70), batch_rows=7, seed=1, **policy).lam != whole.lam).mean() > 0.9
    shifts = mix(np.arange(0, 7000, 7), batch_rows=7, **policy).partner % 7
    assert stats.chisquare(np.bincount(shifts, minlength=7)[1:]).pvalue > 1e-4
    assert mix([], batch_rows=7, **policy).box.shape == (0, 4)


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 4.0])
def test_the_share_of_mixup_is_beta_distributed(alpha):
    found = steps_of(4000, mixup_alpha=alpha)
    assert found.lam.dtype == np.float32 and not found.box.any()
    # Rounded to float32, many shares are 1 exactly; the distribution function allows for that.
    assert stats.kstest(found.lam.astype(float), stats.beta(alpha, alpha).cdf).pvalue > 1e-4


@pytest.mark.parametrize("alpha", [1e-6, 0.01, 100.0, 1e6])
def test_extreme_shares_are_numbers_between_0_and_1(alpha):
    rng = np.random.default_rng(0)
    found = np.array([augment._symmetric_beta(alpha, u, v) for u, v in rng.random((999, 2))])
    assert ((found >= 0) & (found <= 1)).all()
    assert abs(found.mean() - 0.5) < 0.08
    corners = [augment._symmetric_beta(alpha, u, v) for u in (0, 1 - 2**-53) for v in (0, 0.5)]
    assert all(0 <= share <= 1 for share in corners)


def test_the_boxes_of_cutmix_hold_the_share_of_the_partner_and_lie_in_the_image():
    found = steps_of(4000, cutmix_alpha=1.0)
    height, width, _ = SHAPE
    assert found.box.dtype == np.int32
    area = np.zeros(len(found.lam))
    for i, (y0, y1, x0, x1) in enumerate(found.box.tolist()):
        mask = np.zeros((height, width), bool)
        mask[y0:y1, x0:x1] = True
        area[i] = mask.mean()
        assert 0 <= y0 <= y1 <= height and 0 <= x0 <= x1 <= width
        assert mask.any() or (y0, y1, x0, x1) == (0, 0, 0, 0)
    np.testing.assert_allclose(found.lam, 1 - area, atol=1e-6)
    # What is cut off at the border makes boxes smaller than the share that was drawn: the mean of
    # 1 - lam is the mean over uniform shares and centres of the area that is left.
    rng = np.random.default_rng(0)
    draws = []
    for side, centre_y, centre_x in zip(np.sqrt(rng.random(20_000)), *rng.random((2, 20_000))):
        cut = lambda c, s=side: min(c + s / 2, 1) - max(c - s / 2, 0)  # noqa: E731
        draws.append(cut(centre_y) * cut(centre_x))
    assert abs(area.mean() - np.mean(draws)) < 0.02
    # Far from the border a box is where its centre is; every pixel is covered.
    covered = np.zeros((height, width))
    for y0, y1, x0, x1 in found.box.tolist():
        covered[y0:y1, x0:x1] += 1
    assert covered.min() > 0.1 * len(found.lam)


def test_with_both_each_step_draws_one_of_them_and_with_neither_nothing_is_mixed():
    both = steps_of(4000, mixup_alpha=1.0, cutmix_alpha=1.0)
    share = both.box.any(axis=1).mean()
    empty = 1 - steps_of(4000, cutmix_alpha=1.0).box.any(axis=1).mean()
    assert abs(share - 0.5 * (1 - empty)) < 4.5 * 0.5 / math.sqrt(4000)
    neither = mix(np.arange(8), batch_rows=4)
    assert (neither.lam == 1).all() and not neither.box.any()
