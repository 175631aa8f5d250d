from __future__ import annotations

import numpy as np

from peclip.video.changes import Changes


def grey(level: int, height: int = 100, width: int = 200) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def test_the_rectangle_of_what_has_changed_by_hand() -> None:
    """From the squares 2 to 3 in x and 1 to 2 in y, of 16 pixels."""
    changes, image = Changes(), grey(100)
    assert changes.rectangle(image, 0.0) == (0, 0, 200, 100)
    assert changes.rectangle(image, 0.5) is None
    image[20:44, 40:64] = 140
    assert changes.rectangle(image, 1.0) == (32, 16, 64, 48)


def test_what_has_changed_is_held_for_two_seconds() -> None:
    changes, image = Changes(), grey(100)
    changes.rectangle(image, 0.0)
    image[0:16, 0:16] = 140
    assert changes.rectangle(image, 0.5) == (0, 0, 16, 16)
    image[32:48, 0:16] = 140
    assert changes.rectangle(image, 2.0) == (0, 0, 16, 48)
    assert changes.rectangle(image, 2.5) == (0, 0, 16, 48)
    assert changes.rectangle(image, 3.0) == (0, 32, 16, 48)
    assert changes.rectangle(image, 4.5) is None


def test_what_has_changed_at_the_border_reaches_it() -> None:
    changes, image = Changes(), grey(100)
    changes.rectangle(image, 0.0)
    image[80:, 180:] = 0
    assert changes.rectangle(image, 0.5) == (176, 80, 200, 100)


def test_slow_changes_add_up_and_noise_does_not() -> None:
    changes = Changes()
    found = [changes.rectangle(grey(100 + level), 3.0 * level) for level in range(5)]
    assert found[1:] == [None, None, None, (0, 0, 200, 100)]
    noise = np.random.default_rng(0).integers(-10, 11, (100, 200, 3))
    assert changes.rectangle((grey(104) + noise).astype(np.uint8), 15.0) is None


def test_another_size_is_unknown() -> None:
    changes = Changes()
    changes.rectangle(grey(100), 0.0)
    assert changes.rectangle(grey(100, 50), 0.5) == (0, 0, 200, 50)
    assert changes.rectangle(grey(100, 8), 1.0) == (0, 0, 200, 8)
