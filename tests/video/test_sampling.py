import random

import pytest

from peclip.errors import ConfigError
from peclip.video.sampling import clip_indices, random_segment_indices, segment_indices


@pytest.mark.parametrize(
    ("num_frames", "expected"),
    [
        (1, [0] * 16),
        (15, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 14]),
        (16, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]),
        (17, [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16]),
        (100, [3, 9, 15, 21, 28, 34, 40, 46, 53, 59, 65, 71, 78, 84, 90, 96]),
    ],
)
def test_segment_indices_equal_the_table_worked_out_by_hand(num_frames, expected):
    assert segment_indices(num_frames, 16) == expected


def test_one_segment_is_the_middle_frame():
    assert segment_indices(9, 1) == [4]


@pytest.mark.parametrize(
    ("num_frames", "clips", "expected"),
    [
        (8, 2, [0, 2, 4, 6, 1, 3, 5, 7]),  # segments of 2 frames: at 0.5 and at 1.5
        (12, 3, [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]),
        (3, 2, [0, 1, 2, 2] * 2),
    ],
)
def test_clips_by_hand(num_frames, clips, expected):
    assert clip_indices(num_frames, 4, clips) == expected


def test_one_clip_is_the_middle_of_every_segment():
    for num_frames in range(1, 200):
        assert clip_indices(num_frames, 16, 1) == segment_indices(num_frames, 16)


@pytest.mark.parametrize("num_frames", [16, 17, 31, 100])
def test_random_indices_are_one_of_each_segment_and_reach_every_frame(num_frames):
    generator = random.Random(0)
    seen = set()
    for _ in range(200):
        indices = random_segment_indices(num_frames, 16, generator)
        assert len(indices) == 16
        for k, index in enumerate(indices):
            assert k * num_frames // 16 <= index < (k + 1) * num_frames // 16
        seen.update(indices)
    assert seen == set(range(num_frames))


def test_random_indices_repeat_with_the_seed_and_differ_without():
    def draw(seed):
        return random_segment_indices(300, 16, random.Random(seed))

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_a_short_video_is_padded_with_its_last_frame_in_training_too():
    assert random_segment_indices(3, 5, random.Random(0)) == [0, 1, 2, 2, 2]


@pytest.mark.parametrize(("num_frames", "num_segments"), [(0, 16), (-1, 16), (16, 0)])
def test_less_than_one_is_refused(num_frames, num_segments):
    with pytest.raises(ConfigError, match="1 or more"):
        segment_indices(num_frames, num_segments)
    with pytest.raises(ConfigError, match="1 or more"):
        random_segment_indices(num_frames, num_segments, random.Random(0))
