"""Small annotation lists in the formats of DFEW, FERV39k, MAFW and AFEW as they are published.

A line is `<folder> <number of frames> <label>`. The folders are paths of the machines on which the lists
were made; FERV39k and AFEW name the label in the path, too; AFEW counts labels alphabetically and ends
lines as Windows does.
"""

from __future__ import annotations

FERV39K_FOLDERS = ("Happy", "Sad", "Neutral", "Angry", "Surprise", "Disgust", "Fear")
AFEW_FOLDERS = ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
PARTS = {"dfew": 2, "ferv39k": 4, "mafw": 3, "afew": 4}
"""By data set: how many parts of a listed path, from the right, lead from the root to the video."""

Lists = dict[str, str]
"""Name of a list → its text."""


def lists_of_folds(dataset: str, per_class: int = 2) -> Lists:
    """Writes the ten lists of DFEW or MAFW: each fold tests videos that the four others train on.

    Args:
        dataset: `dfew` or `mafw`.
        per_class: videos of each class in each test list.
    """
    home, classes = {
        "dfew": ("/data/EECS-IoannisLab/datasets/DFEW/DFEW_Frame_Face", 7),
        "mafw": ("/data/EECS-IoannisLab/datasets/MAFW/data/faces", 11),
    }[dataset]
    tests: dict[int, list[str]] = {fold: [] for fold in range(1, 6)}
    number = 0
    for fold in tests:
        for label in range(classes):
            for _ in range(per_class):
                number += 1
                tests[fold].append(f"{home}/{number:05d} {20 + number} {label}\n")
    lists = {}
    for fold, test in tests.items():
        train = [line for other, lines in tests.items() if other != fold for line in lines]
        lists[f"{dataset.upper()}_set_{fold}_train.txt"] = "".join(train)
        lists[f"{dataset.upper()}_set_{fold}_test.txt"] = "".join(test)
    return lists


def lists_of_one_division(dataset: str, train: int = 10, reported: int = 2) -> Lists:
    """Writes the two lists of FERV39k or AFEW.

    Args:
        dataset: `ferv39k` or `afew`.
        train: videos of each class in the list to train on.
        reported: videos of each class in the list whose score is reported.
    """
    lists, number = {}, 0
    for split, per_class in (("train", train), ("test", reported)):
        lines = []
        for place in range(7 * per_class):
            label = place // per_class
            number += 1
            if dataset == "ferv39k":
                home = "/data/EECS-IoannisLab/datasets/FERV39K/2_ClipsforFaceCrop/Action"
                folder = f"{home}/{FERV39K_FOLDERS[label]}/{number:04d}"
                lines.append(f"{folder} {20 + number} {label}\n")
            else:
                home = f"AFEWdataset/AFEW_Face_Retina/{'val' if split == 'test' else split}"
                folder = f"{home}/{AFEW_FOLDERS[label]}/{number:06d}120"
                lines.append(f"{folder} {20 + number} {label}\r\n")
        name = f"FERV39K_{split}.txt" if dataset == "ferv39k" else f"AFEW_{split}.txt"
        lists[name.replace("AFEW_test", "AFEW_val")] = "".join(lines)
    return lists


def small_lists(dataset: str) -> Lists:
    """Writes all lists of a data set, in small."""
    return (
        lists_of_folds(dataset) if dataset in ("dfew", "mafw") else lists_of_one_division(dataset)
    )


def place_below_root(dataset: str, line: str) -> str:
    """Returns where below the root of the data set the video of a line is."""
    return "/".join(line.split()[0].split("/")[-PARTS[dataset] :])
