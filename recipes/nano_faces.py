r"""Makes the tables of faces that the embedded model is trained and tested on; steps of `make nano`.

    python recipes/nano_faces.py people --root runs --faces lfw_faces --list lfw_faces.csv
    python recipes/nano_faces.py train --root runs --fer2013 fer2013 --votes fer2013_ferplus_votes.csv \
        --faces lfw_faces --predictions runs/lfw-predictions.csv

`people` divides the news photographs of LFW by person into two halves. `lfw-unlabelled.csv` is the half that may be
trained on: its labels are not used, and every row carries a placeholder that no score may be read from.
`lfw-test.csv` is the half for testing, with the four expressions whose rough labels look right.

`train` writes `faces.csv`, or a table of another name for an ablation: the training images of FER2013 with votes and labels mixed, the photographs of the first
half with a teacher's probabilities as their votes and the person as subject, and PublicTest to validate on.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from collections.abc import Iterable
from pathlib import Path

from peclip.data import DataConfig, load_split
from peclip.data.samples import Sample

TESTED = ("neutral", "happiness", "surprise", "anger")
PLACEHOLDER = "neutral"
HEAD = ("path", "label", "split", "subject", "votes")
Row = tuple[str, str, str, str, str]


def is_tested(person: str) -> bool:
    """Says which half a person belongs to, whatever else is in the list."""
    return hashlib.sha256(person.encode()).digest()[0] % 2 == 1


def write_table(path: Path, rows: Iterable[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEAD)
        writer.writerows(rows)


def divide_people(arguments: argparse.Namespace) -> None:
    with arguments.list.open(encoding="utf-8", newline="") as file:
        faces = list(csv.DictReader(file))
    paths = [f"{arguments.faces}/{face['file']}" for face in faces]
    pairs = list(zip(paths, faces, strict=True))
    unlabelled = [
        (path, PLACEHOLDER, "train", face["person"], "")
        for path, face in pairs
        if not is_tested(face["person"])
    ]
    # A table has two labels at least, and its splits one label set.
    unlabelled[0] = (unlabelled[0][0], TESTED[1], *unlabelled[0][2:])
    tested: list[Row] = [
        (path, face["expression"], "test", face["person"], "")
        for path, face in pairs
        if is_tested(face["person"]) and face["expression"] in TESTED
    ]
    write_table(arguments.root / "lfw-unlabelled.csv", unlabelled)
    write_table(arguments.root / "lfw-test.csv", tested)
    print(f"{len(unlabelled):,} photographs without labels, {len(tested):,} to test on")


def votes_of(shares: Iterable[tuple[str, float]]) -> str:
    return " ".join(f"{label}:{10 * share:.3f}" for label, share in shares if share >= 0.0005)


def fer2013_rows(arguments: argparse.Namespace, part: str) -> list[Row]:
    data = DataConfig(
        dataset="fer2013",
        root=arguments.root / arguments.fer2013,
        split=part,
        targets=arguments.targets if part == "train" else "mixed",
        votes=None if arguments.targets == "labels" and part == "train" else arguments.votes,
        label_votes=arguments.label_votes,
        copies=arguments.copies,
    )

    def row(sample: Sample) -> Row:
        path = sample.source.relative_to(arguments.root)
        return (
            path.as_posix(),
            sample.label,
            part,
            "",
            votes_of(sample.soft_target or ((sample.label, 1.0),)),
        )

    return [row(sample) for sample in load_split(data).samples]


def photograph_rows(arguments: argparse.Namespace) -> list[Row]:
    with (arguments.root / "lfw-unlabelled.csv").open(encoding="utf-8", newline="") as file:
        people = {row["path"]: row["subject"] for row in csv.DictReader(file)}
    rows: list[Row] = []
    with arguments.predictions.open(encoding="utf-8", newline="") as file:
        for found in csv.DictReader(file):
            shares = [
                (name.removeprefix("prob_"), float(value))
                for name, value in found.items()
                if name.startswith("prob_")
            ]
            path = found["source"]
            rows.append((path, found["label"], "train", people[path], votes_of(shares)))
    return rows


def join_faces(arguments: argparse.Namespace) -> None:
    train = fer2013_rows(arguments, "train")[:: arguments.every]
    photographs = photograph_rows(arguments) if arguments.predictions is not None else []
    val = fer2013_rows(arguments, "val")
    write_table(arguments.root / arguments.out, [*train, *photographs, *val])
    print(f"{len(train):,} of FER2013 and {len(photographs):,} photographs, {len(val):,} validate")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    steps = parser.add_subparsers(required=True)
    people, train = steps.add_parser("people"), steps.add_parser("train")
    for step in (people, train):
        step.add_argument("--root", type=Path, required=True, help="folder of both data sets")
        step.add_argument("--faces", default="lfw_faces", help="folder of the photographs in it")
    people.add_argument("--list", type=Path, required=True, help="csv: file,person,expression")
    people.set_defaults(run=divide_people)
    train.add_argument("--fer2013", default="fer2013", help="folder of FER2013 in it")
    train.add_argument("--votes", type=Path, required=True)
    train.add_argument("--label-votes", type=float, default=3.0, help="as in nano-face.yaml")
    train.add_argument("--targets", choices=("labels", "votes", "mixed"), default="mixed")
    train.add_argument("--copies", choices=("keep", "drop_from_train"), default="drop_from_train")
    train.add_argument("--every", type=int, default=1, help="take every n-th image of FER2013")
    train.add_argument("--predictions", type=Path, help="the teacher's; without, no photographs")
    train.add_argument("--out", default="faces.csv", help="name of the table in the root")
    train.set_defaults(run=join_faces)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
